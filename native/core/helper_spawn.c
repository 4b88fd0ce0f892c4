/* Starts a confined helper, ts-unpack or ts-archive: one process per piece of work, ended with the thread that started it. */
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Descriptors of the new process. */
enum { INPUT = 0, REPORT = 1, OUTPUT = 3, SPEC = 4, PROCESS = 5, COUNT = 6 };

struct ends {
  int ours, theirs;
};

static void close_ends(struct ends *ends) {
  if (ends->ours >= 0) close(ends->ours);
  if (ends->theirs >= 0) close(ends->theirs);
}

/* Ours stays low or high; theirs lies above all that the file actions write to, so that none takes another's place. */
static int high(int fd) {
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 10);
  int status = errno;
  close(fd);
  errno = status;
  return copy;
}

static int make_pipe(struct ends *ends, int theirs_writes) {
  int pair[2];
  if (pipe2(pair, O_CLOEXEC) < 0) return -1;
  ends->ours = pair[theirs_writes ? 0 : 1];
  ends->theirs = high(pair[theirs_writes ? 1 : 0]);
  // Fewer turns of both sides; where the system allows no more, it stays as it is.
  fcntl(ends->ours, F_SETPIPE_SZ, 1 << 20);
  return ends->theirs < 0 ? -1 : 0;
}

/* A descriptor of the caller's, a pipe (RT_PIPE), or nothing. */
static int make_ends(struct ends *ends, int fd, int theirs_writes) {
  if (fd == RT_PIPE) return make_pipe(ends, theirs_writes);
  if (fd < 0) return 0;
  ends->theirs = fcntl(fd, F_DUPFD_CLOEXEC, 10);
  return ends->theirs < 0 ? -1 : 0;
}

static int make_spec(struct ends *ends, const void *spec, int size) {
  if (!spec || size <= 0) return 0;
  int fd = memfd_create("spec", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return -1;
  ends->theirs = high(fd);
  if (ends->theirs < 0) return -1;
  errno = EIO;
  if (write(ends->theirs, spec, (size_t)size) != size) return -1;
  return fcntl(ends->theirs, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
}

static int spawn(const char *path, char *const *argv, const struct ends *ends, pid_t *pid) {
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
    for (int fd = 0; !status && fd < COUNT; fd++) {
      // What it is not given leads nowhere, so that the numbers keep their meaning.
      if (ends[fd].theirs < 0) status = posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
      else status = posix_spawn_file_actions_adddup2(&actions, ends[fd].theirs, fd);
    }
    if (!status) status = posix_spawn_file_actions_addclosefrom_np(&actions, COUNT);
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

int rt_helper_spawn(const char *path, char *const *argv, const rt_helper *given, int fds[4], rt_error *err) {
  struct ends ends[COUNT];
  for (int fd = 0; fd < COUNT; fd++) ends[fd] = (struct ends){-1, -1};
  int failed = make_ends(&ends[INPUT], given->input_fd, 0) || make_pipe(&ends[REPORT], 1) ||
               make_ends(&ends[OUTPUT], given->output_fd, 1) || make_spec(&ends[SPEC], given->spec, given->spec_size) ||
               make_ends(&ends[PROCESS], given->process_fd, 0);
  int status = failed ? errno : 0;
  pid_t pid = -1;
  if (!status) status = spawn(path, argv, ends, &pid);
  // It is not reaped before it is waited for, so the pid is still its own.
  int pidfd = status ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
  if (!status && pidfd < 0) {
    status = errno;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
  }
  for (int fd = 0; fd < COUNT; fd++) {
    if (status) {
      close_ends(&ends[fd]);
    } else if (ends[fd].theirs >= 0) {
      close(ends[fd].theirs);
    }
  }
  if (status) return rt_fail(err, status, "starting %s", path);
  fds[0] = pidfd;
  fds[1] = ends[REPORT].ours;
  fds[2] = ends[INPUT].ours;
  fds[3] = ends[OUTPUT].ours;
  return 0;
}

int rt_helper_kill(int pidfd, rt_error *err) {
  if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0 || errno == ESRCH) return 0;
  return rt_fail(err, errno, "ending a helper");
}

int rt_helper_reap(int pidfd, rt_error *err) {
  siginfo_t info = {0};
  if (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) < 0)
    return rt_fail(err, errno, "waiting for a helper");
  if (info.si_pid == 0) return rt_fail(err, EAGAIN, "the helper still runs");
  return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

int rt_pidfd_open(int pid, rt_error *err) {
  int fd = (int)syscall(SYS_pidfd_open, pid, 0);
  return fd < 0 ? rt_fail(err, errno, "process %d", pid) : fd;
}

int rt_connection_take(int pid, int fd, uint64_t inode, rt_error *err) {
  struct stat st;
  int process = (int)syscall(SYS_pidfd_open, pid, 0);
  if (process < 0) return rt_fail(err, errno, "process %d", pid);
  int taken = (int)syscall(SYS_pidfd_getfd, process, fd, 0);
  int status = taken < 0 ? errno : 0;
  close(process);
  if (status) return rt_fail(err, status, "taking descriptor %d of process %d", fd, pid);
  if (fstat(taken, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_ino == inode) return taken;
  close(taken);
  return rt_fail(err, ESTALE, "descriptor %d of process %d is another one by now", fd, pid);
}

int rt_syncfs(const char *path, rt_error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return rt_fail(err, errno, "opening %s", path);
  int status = syncfs(fd) < 0 ? errno : 0;
  close(fd);
  return status ? rt_fail(err, status, "writing %s's file system to disk", path) : 0;
}
