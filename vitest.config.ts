import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { SideBySide } from './e2e/src/runner/side-by-side.js';

// Workspace packages resolve to their TypeScript sources, so unit tests need no build.
// No 'import': vitest hands these to Node, where `require` would then load modules made for `import`.
const resolve = { conditions: ['tessera-source', 'module', 'node', 'default'] };
const ssr = { resolve };

// An emulated machine is ten times slower than this one, and would take minutes to make JavaScript of TypeScript.
const inMachine = {
  exclude: ['**/node_modules/**'],
  server: { deps: { external: [/\/dist\//] } },
  testTimeout: 300_000,
  hookTimeout: 300_000,
};

export default defineConfig({
  test: {
    // Vitest leaves a core idle by default; with one processor there is one worker.
    maxWorkers: Math.min(2, availableParallelism()),
    sequence: { sequencer: SideBySide },
    projects: [
      {
        resolve,
        ssr,
        test: {
          name: 'unit',
          include: ['{shared,native,agent,manager,cli,deploy,e2e}/src/**/*.test.ts'],
          exclude: ['e2e/src/scenarios/**', '**/*.vm.test.ts', '**/dist/**', '**/node_modules/**'],
          testTimeout: 30_000,
          hookTimeout: 30_000,
          // What many files import is evaluated once for all of a worker's, which saves half of the time.
          isolate: false,
        },
      },
      {
        resolve,
        ssr,
        test: {
          name: 'e2e',
          include: ['e2e/src/scenarios/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // Scenarios start whole labs, and clients have patience of their own: two cores carry one at a time.
          setupFiles: ['e2e/src/runner/turn.ts'],
        },
      },
      {
        resolve,
        ssr,
        test: {
          // At length, by `npm run fuzz`; each has a short run among the unit tests.
          name: 'fuzz',
          include: ['{shared,native,agent,manager,cli}/src/**/*.fuzz.test.ts'],
          hookTimeout: 180_000,
        },
      },
      {
        test: {
          // What faces the kernel; run by `npm run test:vm` in a machine with pure cgroup v2 and a stock kernel.
          name: 'vm',
          include: [
            'native/dist/daemon.test.js',
            'agent/dist/executor/container/security/apparmor.vm.test.js',
            'agent/dist/executor/container/{container-executor,churn,hostile-image,loaded-image,networking}.test.js',
            'agent/dist/image/local-image-store.test.js',
            'agent/dist/network/network-manager.kernel.test.js',
          ],
          ...inMachine,
        },
      },
      {
        test: {
          // The same, in a machine that enforces SELinux.
          name: 'selinux',
          include: ['agent/dist/executor/container/security/selinux/selinux.vm.test.js'],
          ...inMachine,
        },
      },
    ],
  },
});
