import { artefactPath, call, callAsync, declare, type NativeFunction } from './library.js';

// The native calls that a container's life takes, beside its shim's protocol.

const once = <T extends (...args: never[]) => unknown>(make: () => T) => {
  let value: T | undefined;
  return () => (value ??= make());
};
const functions = {
  spawn: once(() => declare('int rt_shim_spawn(const char *path, _Out_ int *fds, _Out_ rt_error *err)')),
  begin: once(() =>
    declare('int rt_shim_begin(int socket, const void *spec, int size, _Out_ rt_error *err)'),
  ),
  connect: once(() =>
    declare('int rt_shim_connect(const char *run_dir, _Out_ int *fds, _Out_ rt_error *err)'),
  ),
  signal: once(() => declare('int rt_process_signal(int pidfd, int signal, _Out_ rt_error *err)')),
  reap: once(() => declare('int rt_process_reap(int pidfd, _Out_ rt_error *err)')),
  make: once(() =>
    declare(
      'int rt_container_make(const char *data_dir, const char *run_dir, const char *name, const void *content, int size, _Out_ rt_error *err)',
    ),
  ),
  discard: once(() =>
    declare(
      'int rt_container_discard(const char *run_dir, const char *data_dir, const char *trash, _Out_ rt_error *err)',
    ),
  ),
  killGroup: once(() => declare('int rt_group_kill(const char *path, _Out_ rt_error *err)')),
  clear: once(() => declare('int rt_clear(const char **groups, const char **trees, _Out_ rt_error *err)')),
} satisfies Record<string, () => NativeFunction>;

/** Kills everything in a cgroup and below, until it is empty. A group that does not exist is fine. */
export const killGroup = (path: string): Promise<number> => callAsync(functions.killGroup(), path);

/** Makes a container's two directories, their parents being there, and a file in the first. */
export function makeContainer(
  dataDir: string,
  runDir: string,
  name: string,
  content: Buffer,
): Promise<number> {
  return callAsync(functions.make(), dataDir, runDir, name, content, content.length);
}

/** Removes a container's run directory and moves the other one away, whole; what is missing is fine. */
export const discardContainer = (runDir: string, dataDir: string, trash: string): Promise<number> =>
  callAsync(functions.discard(), runDir, dataDir, trash);

/** Removes cgroups and directory trees. What is missing is fine; may be repeated. */
export const clear = (groups: readonly string[], trees: readonly string[]): Promise<number> =>
  callAsync(functions.clear(), [...groups, null], [...trees, null]);

/** A process and the descriptors that come with it. */
export interface ShimProcess {
  readonly pid: number;
  /** Non-blocking, connected to the shim. */
  readonly socket: number;
  readonly pidfd: number;
}

const processOf = (pid: number, fds: Int32Array): ShimProcess => ({ pid, socket: fds[0]!, pidfd: fds[1]! });

export async function spawnShim(): Promise<ShimProcess> {
  const fds = new Int32Array(2);
  return processOf(await callAsync(functions.spawn(), artefactPath('ts-shim'), fds), fds);
}

/** Hands a waiting shim its spec. */
export const beginShim = (socket: number, spec: Buffer): number =>
  call(functions.begin(), socket, spec, spec.length);

/** @throws ClusterError `notFound` or another kind when no shim listens in `runDir` */
export function connectShim(runDir: string): ShimProcess {
  const fds = new Int32Array(2);
  return processOf(call(functions.connect(), runDir, fds), fds);
}

export const signalProcess = (pidfd: number, signal: number): number =>
  call(functions.signal(), pidfd, signal);

/** Takes the zombie of a process whose pidfd is readable. */
export const reapProcess = (pidfd: number): number => call(functions.reap(), pidfd);
