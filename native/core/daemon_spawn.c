/* Starts a process that outlives ours: the manager beside its agent. */
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int rt_daemon_spawn(const char *path, char *const *argv, char *const *envp, int output_fd, int *pidfd,
                    rt_error *err) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t all, none;
  sigfillset(&all);
  sigemptyset(&none);
  pid_t pid = -1;

  int status = posix_spawn_file_actions_init(&actions);
  if (status) return rt_fail(err, status, "starting %s", path);
  status = posix_spawnattr_init(&attributes);
  if (!status) {
    // Standard input and output come first: without them the next files opened would take their numbers.
    if (!status) status = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (!status) status = posix_spawn_file_actions_adddup2(&actions, output_fd, 1);
    if (!status) status = posix_spawn_file_actions_adddup2(&actions, output_fd, 2);
    if (!status) status = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (!status) status = posix_spawnattr_setsigdefault(&attributes, &all);
    if (!status) status = posix_spawnattr_setsigmask(&attributes, &none);
    if (!status)
      status = posix_spawnattr_setflags(&attributes,
                                        POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
    if (!status) status = posix_spawn(&pid, path, &actions, &attributes, argv, envp);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_destroy(&actions);
  if (status) return rt_fail(err, status, "starting %s", path);

  // It is not reaped before it is waited for, so the pid is still its own.
  *pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (*pidfd >= 0) return pid;
  status = errno;
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  return rt_fail(err, status, "watching %s", path);
}
