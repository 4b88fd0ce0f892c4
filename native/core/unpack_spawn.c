/* Starts ts-unpack: one process per archive, ended with the thread that started it. */
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void close_pair(int pair[2]) {
  if (pair[0] >= 0) close(pair[0]);
  if (pair[1] >= 0) close(pair[1]);
}

static int spawn(const char *path, char *const *argv, int input, int report, pid_t *pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t all, none;
  sigfillset(&all);
  sigemptyset(&none);
  char *const environment[] = {NULL};

  int status = posix_spawn_file_actions_init(&actions);
  if (status) return status;
  status = posix_spawnattr_init(&attributes);
  if (!status) {
    if (!status) status = posix_spawn_file_actions_adddup2(&actions, input, 0);
    if (!status) status = posix_spawn_file_actions_adddup2(&actions, report, 1);
    if (!status) status = posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    if (!status) status = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    if (!status) status = posix_spawnattr_setsigdefault(&attributes, &all);
    if (!status) status = posix_spawnattr_setsigmask(&attributes, &none);
    if (!status)
      status = posix_spawnattr_setflags(&attributes,
                                        POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
    if (!status) status = posix_spawn(pid, path, &actions, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_destroy(&actions);
  return status;
}

int rt_unpack_spawn(const char *path, char *const *argv, int input_fd, int fds[3], rt_error *err) {
  int input[2] = {-1, -1}, report[2] = {-1, -1};
  if (pipe2(report, O_CLOEXEC) < 0) return rt_fail(err, errno, "unpacker: pipe");
  if (input_fd < 0 && pipe2(input, O_CLOEXEC) < 0) {
    int status = errno;
    close_pair(report);
    return rt_fail(err, status, "unpacker: pipe");
  }

  pid_t pid = -1;
  int status = spawn(path, argv, input_fd < 0 ? input[0] : input_fd, report[1], &pid);
  // It is not reaped before it is waited for, so the pid is still its own.
  int pidfd = status ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
  if (!status && pidfd < 0) {
    status = errno;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
  }
  if (status) {
    close_pair(report);
    close_pair(input);
    return rt_fail(err, status, "starting %s", path);
  }
  close(report[1]);
  if (input_fd < 0) close(input[0]);
  fds[0] = pidfd;
  fds[1] = report[0];
  fds[2] = input[1];
  return 0;
}

int rt_unpack_kill(int pidfd, rt_error *err) {
  if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0 || errno == ESRCH) return 0;
  return rt_fail(err, errno, "ending the unpacker");
}

int rt_unpack_reap(int pidfd, rt_error *err) {
  siginfo_t info = {0};
  if (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0)
    return rt_fail(err, errno, "waiting for the unpacker");
  if (info.si_pid == 0) return rt_fail(err, EAGAIN, "the unpacker still runs");
  return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

int rt_syncfs(const char *path, rt_error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return rt_fail(err, errno, "opening %s", path);
  int status = syncfs(fd) < 0 ? errno : 0;
  close(fd);
  return status ? rt_fail(err, status, "writing %s's file system to disk", path) : 0;
}
