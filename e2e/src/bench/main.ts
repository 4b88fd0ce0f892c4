// npm run bench -- NAME [options]: runs one benchmark; each lies in the package whose work it measures.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { ROOT } from '../lab/paths.js';

/** Where a benchmark of this name may lie, from the floor up. */
const PLACES = ['native/dist/bench', 'agent/dist/bench', 'manager/dist/bench', 'e2e/dist/bench'];

const NAMES: Readonly<Record<string, string>> = {
  start: 'one container: create, start, exit, remove, beside crun, runc and the kernel’s floor; -c N at once',
  exec: 'one exec of true in a running container, output attached, beside crun and runc; -c N at once',
  converge: 'service create to all running on three hosts, beside Docker Swarm',
  failover: 'a host killed to its tasks running elsewhere, beside Docker Swarm',
  docker: 'docker run, exec and ps through the cluster, beside dockerd',
  pull: 'an image of 500 MB and 20 layers pulled from a registry, beside dockerd',
  cp: 'docker cp of 200 MB and of 5,000 files, both ways, beside dockerd',
  'cp-across': 'docker cp and export of 200 MB, the container on another host, beside dockerd with its own',
  memory: 'memory per container and of the daemons, beside containerd-shim',
  overlay: 'TCP between containers on two hosts, beside a hand-made VXLAN and bridge',
  store: 'writes per second through the store, beside etcd alone',
  schedule: 'placements per second on thousands of nodes',
};

const [name, ...options] = process.argv.slice(2);
const path = PLACES.map((place) => `${ROOT}${place}/${name}.js`).find((candidate) => existsSync(candidate));
if (!name || !Object.hasOwn(NAMES, name) || !path) {
  if (name) console.error(`bench: there is no benchmark named '${name}'`);
  console.error('Usage: npm run bench -- NAME [--json]\n');
  for (const [key, text] of Object.entries(NAMES)) console.error(`  ${key.padEnd(11)}${text}`);
  process.exit(name ? 1 : 2);
}
const child = spawn(process.execPath, [path, ...options], { stdio: 'inherit' });
child.once('exit', (code) => process.exit(code ?? 1));
