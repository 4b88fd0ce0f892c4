/* Starts a container's shim, and finds it again. */
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010u
#endif
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int new_memfd(const char *name, unsigned executable) {
  int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | executable);
  if (fd < 0 && errno == EINVAL && executable) fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  return fd;
}

static int copy_all(int to, int from) {
  struct stat found;
  if (fstat(from, &found)) return -1;
  for (off_t left = found.st_size; left > 0;) {
    ssize_t sent = sendfile(to, from, NULL, (size_t)left);
    if (sent <= 0) {
      if (sent == 0) errno = EIO;
      return -1;
    }
    left -= sent;
  }
  return 0;
}

/*
 * A sealed copy of the program, made once. A container can reach the file its first process was made from
 * (/proc/1/exe); it finds a copy that nobody can write (CVE-2019-5736).
 */
static int sealed_image(const char *path, char exec_path[64], rt_error *err) {
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  static int image = -1;
  pthread_mutex_lock(&mutex);
  if (image < 0) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    int fd = file < 0 ? -1 : new_memfd("ts-shim", MFD_EXEC);
    if (fd >= 0 && (copy_all(fd, file) || fcntl(fd, F_ADD_SEALS, SEALS))) {
      int status = errno;
      close(fd);
      fd = -1;
      errno = status;
    }
    int status = errno;
    if (file >= 0) close(file);
    errno = status;
    image = fd;
  }
  int result = image < 0 ? rt_fail(err, errno, "reading %s", path) : 0;
  /* Not /proc/self: the new process closes what it does not need before it executes this. */
  if (result == 0) snprintf(exec_path, 64, "/proc/%d/fd/%d", (int)getpid(), image);
  pthread_mutex_unlock(&mutex);
  return result;
}

/* Node leaves SIGPIPE ignored and may have closed 0 to 2: the new process gets all of that anew. */
static int spawn(const char *exec_path, int control, pid_t *pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t all, none;
  sigfillset(&all);
  sigemptyset(&none);
  /* Room for the container's id, which it writes there when it knows it, for people who run ps. */
  char *const argv[] = {(char *)"ts-shim", (char *)"----------------------------------------------------------------",
                        NULL};
  char *const environment[] = {NULL};

  int status = posix_spawn_file_actions_init(&actions);
  if (status) return status;
  status = posix_spawnattr_init(&attributes);
  if (!status) {
    if (!status) status = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
    if (!status) status = posix_spawn_file_actions_adddup2(&actions, 0, 1);
    if (!status) status = posix_spawn_file_actions_adddup2(&actions, 0, 2);
    if (!status) status = posix_spawn_file_actions_adddup2(&actions, control, 3);
    if (!status) status = posix_spawn_file_actions_addclosefrom_np(&actions, 4);
    if (!status) status = posix_spawnattr_setsigdefault(&attributes, &all);
    if (!status) status = posix_spawnattr_setsigmask(&attributes, &none);
    if (!status)
      status = posix_spawnattr_setflags(&attributes,
                                        POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
    if (!status) status = posix_spawn(pid, exec_path, &actions, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_destroy(&actions);
  return status;
}

/* Out of the way of 3, which the file actions write to. */
static int high_copy(int fd) {
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 10);
  int status = errno;
  close(fd);
  errno = status;
  return copy;
}

int rt_shim_spawn(const char *path, int fds[2], rt_error *err) {
  char exec_path[64];
  int pair[2], result = sealed_image(path, exec_path, err);
  if (result < 0) return result;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
    return rt_fail(err, errno, "control socket");
  pid_t pid = -1;
  int theirs = high_copy(pair[1]);
  int status = theirs < 0 ? errno : spawn(exec_path, theirs, &pid);
  /* Not reaped before it is waited for, so the pid is still its own. */
  int pidfd = status ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
  if (!status && pidfd < 0) {
    status = errno;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
  }
  if (theirs >= 0) close(theirs);
  if (status) {
    close(pair[0]);
    return rt_fail(err, status, "starting %s", path);
  }
  fds[0] = pair[0];
  fds[1] = pidfd;
  return pid;
}

static int send_descriptor(int socket, int fd) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))}};
  memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
  struct iovec byte = {.iov_base = "s", .iov_len = 1};
  struct msghdr message = {
      .msg_iov = &byte, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  return sendmsg(socket, &message, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

int rt_shim_begin(int socket, const void *spec, int size, rt_error *err) {
  int fd = new_memfd("spec", 0);
  if (fd < 0) return rt_fail(err, errno, "handing over the spec");
  errno = EIO;
  int result = write(fd, spec, (size_t)size) != size || fcntl(fd, F_ADD_SEALS, SEALS) || send_descriptor(socket, fd);
  int status = errno;
  close(fd);
  return result ? rt_fail(err, status, "handing over the spec") : 0;
}

int rt_shim_connect(const char *run_dir, int fds[2], rt_error *err) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int dir = open(run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return rt_fail(err, errno, "opening %s", run_dir);
  /* By descriptor: the path itself may be longer than an address may be. */
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/shim.sock", dir);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int result = fd < 0 ? -1 : connect(fd, (struct sockaddr *)&address, sizeof address);
  int status = errno;
  close(dir);
  struct ucred peer = {0};
  socklen_t size = sizeof peer;
  if (result == 0 && (result = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))) status = errno;
  if (result == 0 && peer.uid != 0) {
    result = -1;
    status = EPERM;
  }
  int pidfd = result ? -1 : (int)syscall(SYS_pidfd_open, peer.pid, 0);
  if (result == 0 && pidfd < 0) {
    result = -1;
    status = errno;
  }
  if (result) {
    if (fd >= 0) close(fd);
    return rt_fail(err, status, "connecting to the shim in %s", run_dir);
  }
  fds[0] = fd;
  fds[1] = pidfd;
  return peer.pid;
}

int rt_process_signal(int pidfd, int signal, rt_error *err) {
  if (syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) == 0 || errno == ESRCH) return 0;
  return rt_fail(err, errno, "signal %d", signal);
}

int rt_process_reap(int pidfd, rt_error *err) {
  struct pollfd ended = {.fd = pidfd, .events = POLLIN};
  if (poll(&ended, 1, 0) != 1) return rt_fail(err, EAGAIN, "the process has not ended");
  siginfo_t info; /* fails for what an earlier agent started: init takes it */
  waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
  return 0;
}

int rt_socket_receive(int fd, void *buffer, int size, rt_error *err) {
  ssize_t got;
  while ((got = recv(fd, buffer, (size_t)size, MSG_DONTWAIT)) < 0)
    if (errno != EINTR) return rt_fail(err, errno, "receiving");
  return (int)got;
}

int rt_socket_send(int fd, const void *bytes, int size, rt_error *err) {
  ssize_t sent;
  while ((sent = send(fd, bytes, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL)) < 0)
    if (errno != EINTR) return rt_fail(err, errno, "sending");
  return sent == size ? size : rt_fail(err, EMSGSIZE, "sending");
}
