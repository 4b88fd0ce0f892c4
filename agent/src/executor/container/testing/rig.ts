import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { delay, silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import type { ContainerSpec, Task, TaskSpec } from '@tessera/shared/model';
import { aTask, aTaskSpec } from '@tessera/shared/testing';
import type { ImageConfig, ImageStore, LocalImage } from '../../../image/image-store.js';
import type { AttachedClient } from '../../attachment.js';
import type { Controller } from '../../executor.js';
import type { ExecRequest } from '../../live-container.js';
import { ContainerExecutor, type ContainerExecutorOptions } from '../container-executor.js';
import { removeDeadRigsOnce, rigPlace } from './dead-rigs.js';
import { anAssignment, PersonContainer, type PersonOptions } from './person.js';

// What tests with real containers need: a root file system made of busybox, an image store that has it as one
// layer, and an executor whose directories and cgroups are nobody else's.

const APPLETS = [
  'sh',
  'true',
  'false',
  'cat',
  'echo',
  'sleep',
  'id',
  'ls',
  'mount',
  'ps',
  'kill',
  'dd',
  'seq',
  'pwd',
  'hostname',
  'stat',
  'env',
  'touch',
  'mkdir',
  'ulimit',
  'yes',
  'head',
  'test',
  'grep',
  'readlink',
  'ln',
  'tr',
  'chmod',
  'df',
  'tail',
  'mknod',
  'mkfifo',
  'unshare',
  'wc',
  'stty',
  'tty',
  'printf',
  'sort',
];

/** Makes a root file system of busybox-static below `root`. */
export function makeBusyboxRoot(root: string): string {
  for (const dir of ['bin', 'etc', 'tmp', 'root', 'proc', 'sys', 'dev'])
    mkdirSync(join(root, dir), { recursive: true });
  chmodSync(join(root, 'tmp'), 0o1777);
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'));
  for (const applet of APPLETS) symlinkSync('busybox', join(root, 'bin', applet));
  writeFileSync(
    join(root, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n',
  );
  writeFileSync(join(root, 'bin/noise'), 'no program\n', { mode: 0o755 });
  writeFileSync(join(root, 'bin/orphan'), '#!/no/interpreter\n', { mode: 0o755 });
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\napp:x:1001:\nextra:x:1002:app\nwheel:x:1003:\n');
  return root;
}

export const anImageConfig = (part: Partial<ImageConfig> = {}): ImageConfig => ({
  entrypoint: [],
  cmd: ['sh'],
  env: [],
  workingDir: '',
  user: '',
  stopSignal: '',
  labels: {},
  volumes: [],
  ...part,
});

/** An image store that has one image, made of directories. */
export function directoryImages(
  layers: readonly string[],
  config: ImageConfig = anImageConfig(),
): ImageStore {
  const image: LocalImage = {
    id: 'sha256:test',
    config,
    layers: layers.map((path) => ({ chainId: path, path, shortPath: path })),
  };
  const unused = () => {
    throw new Error('not part of this test');
  };
  return {
    ensure: async () => image,
    release: async () => {},
    load: unused,
    remove: unused,
    held: () => [image.id],
    onChange: () => () => {},
    readBlob: unused,
  };
}

export interface Rig {
  readonly dir: string;
  readonly layer: string;
  readonly executor: ContainerExecutor;
  readonly options: ContainerExecutorOptions;
  /** A task that runs this command. */
  task(args: readonly string[], container?: Partial<ContainerSpec>, spec?: Partial<TaskSpec>): Task;
  /** A container of nobody's task that runs this command. */
  create(
    args: readonly string[],
    container?: Partial<ContainerSpec>,
    options?: PersonOptions,
  ): Promise<PersonContainer>;
  /** Prepares, starts, waits and removes; with the log as text. */
  run(task: Task): Promise<{ exitCode: number; oomKilled: boolean; stdout: string; stderr: string }>;
  /** Runs a container of nobody's task to its end and removes it. Returns all that it wrote. */
  said(args: readonly string[], container?: Partial<ContainerSpec>, options?: PersonOptions): Promise<string>;
  /** Resolves with the log of a container of nobody's task once it holds `text`. */
  heard(container: PersonContainer, text: string): Promise<string>;
  /** Resolves once the container of this controller has written `text` to its log. */
  logged(controller: Controller, text: string): Promise<void>;
  /** Takes away everything, and throws if anything was left over. */
  close(): Promise<void>;
}

/** @param layer an existing root file system, made by makeBusyboxRoot if absent */
export async function openRig(
  part: Partial<ContainerExecutorOptions> = {},
  layers: (layer: string) => string[] = (layer) => [layer],
): Promise<Rig> {
  await removeDeadRigsOnce(directoryImages([]));
  const { dir, cgroupParent } = rigPlace();
  const layer = makeBusyboxRoot(join(dir, 'layer'));
  const options: ContainerExecutorOptions = {
    dataDir: join(dir, 'data'),
    runDir: join(dir, 'run'),
    cgroupParent,
    images: directoryImages(layers(layer)),
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    ...part,
  };
  const executor = await ContainerExecutor.open(options);
  let tasks = 0;
  const rig: Rig = {
    dir,
    layer,
    executor,
    options,
    task: (args, container = {}, spec = {}) => {
      const base = aTaskSpec(spec);
      return aTask({
        id: `task-${++tasks}`,
        spec: { ...base, container: { ...base.container!, image: 'busybox', args: [...args], ...container } },
      });
    },
    create: (args, container, more) =>
      new PersonContainer(executor, anAssignment(args, container, more)).create(),
    async run(task) {
      const { signal } = new AbortController();
      const controller = executor.controller(task);
      try {
        await controller.prepare(signal);
        await controller.start(signal);
        const { exitCode, oomKilled } = await controller.wait(signal);
        const log = readLog(join(options.dataDir, 'containers', controller.status()!.containerId));
        return { exitCode, oomKilled, ...log };
      } finally {
        await controller.remove();
      }
    },
    async said(args, container, more) {
      const person = await rig.create(args, container, more);
      await person.start();
      await person.exit();
      const { stdout, stderr } = readLog(join(options.dataDir, 'containers', person.id));
      await person.remove();
      return stdout + stderr;
    },
    async heard({ id }, text) {
      for (;;) {
        const { stdout, stderr } = readLog(join(options.dataDir, 'containers', id));
        if ((stdout + stderr).includes(text)) return stdout + stderr;
        await delay(systemClock, 5);
      }
    },
    async logged(controller, text) {
      const dataDir = join(options.dataDir, 'containers', controller.status()!.containerId);
      while (!JSON.stringify(readLog(dataDir)).includes(text)) await delay(systemClock, 5);
    },
    async close() {
      const left = await executor.cgroups.list();
      await executor.recover(new Set());
      await executor.idle();
      await executor.cgroups.removeParent();
      rmSync(dir, { recursive: true, force: true });
      if (left.length > 0) throw new Error(`cgroups left over: ${left.join(' ')}`);
    },
  };
  return rig;
}

/** The whole log of a container as two texts, read record by record. */
export function readLog(dataDir: string): { stdout: string; stderr: string } {
  const text = { stdout: '', stderr: '' };
  if (!existsSync(`${dataDir}/log`)) return text;
  for (const name of readdirSync(`${dataDir}/log`).sort()) {
    const bytes = readFileSync(`${dataDir}/log/${name}`);
    for (let at = 0; at < bytes.length; ) {
      const [stream, flags, length] = [bytes[at + 2]!, bytes[at + 3]!, bytes.readUInt32LE(at + 4)];
      const line = bytes.toString('utf8', at + 16, at + 16 + length);
      text[stream === 1 ? 'stdout' : 'stderr'] += flags & 1 ? line : `${line}\n`;
      at += 16 + length;
    }
  }
  return text;
}

/** Everything a process writes until it ends, or until `enough`. */
export async function readAll(
  streams: AttachedClient,
  enough: (output: { stdout: string; stderr: string }) => boolean = () => false,
): Promise<{ stdout: string; stderr: string }> {
  const output = { stdout: '', stderr: '' };
  for await (const { stream, bytes } of streams) {
    output[stream] += Buffer.from(bytes).toString('latin1');
    if (enough(output)) break;
  }
  return output;
}

export const anExec = (args: readonly string[], part: Partial<ExecRequest> = {}): ExecRequest => ({
  args,
  env: [],
  user: '',
  workingDir: '',
  privileged: false,
  tty: false,
  stdin: false,
  ...part,
});
