import { closeSync } from 'node:fs';
import koffi from 'koffi';
import { call, declare } from './library.js';

export interface DaemonRequest {
  readonly path: string;
  /** Without the program's own name. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Takes its standard output and error; the caller's to close. */
  readonly outputFd: number;
}

/**
 * Starts a process that outlives this one, in a session of its own, by posix_spawn: a fork would copy the page
 * tables of a large agent and block its event loop meanwhile. Its zombie is taken when it ends.
 *
 * @returns its pid
 * @throws NativeCallError
 */
export function spawnDaemon({ path, args, env, outputFd }: DaemonRequest): number {
  const pidfd = new Int32Array(1);
  const variables = Object.entries(env).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${value}`],
  );
  const pid = call(native().spawn, path, [path, ...args, null], [...variables, null], outputFd, pidfd);
  reapAtEnd(pidfd[0]!);
  return pid;
}

function reapAtEnd(pidfd: number): void {
  const poll = koffi.node.poll(pidfd, () => {
    poll.stop();
    poll.close();
    try {
      call(native().reap, pidfd);
    } finally {
      closeSync(pidfd);
    }
  });
  // Waiting for it must not keep this process alive.
  poll.unref();
}

function load() {
  return {
    spawn: declare(
      'int rt_daemon_spawn(const char *path, const char **argv, const char **envp, int output_fd, _Out_ int *pidfd, _Out_ rt_error *err)',
    ),
    reap: declare('int rt_process_reap(int pidfd, _Out_ rt_error *err)'),
  };
}
let loaded: ReturnType<typeof load> | undefined;
const native = () => {
  loaded ??= load();
  return loaded;
};
