/*
 * ts-shim: one per container. It makes the container's first process, keeps its log, answers on its socket, and
 * writes down how it ended. Started by the agent with a connected socket as descriptor 3, over which its spec comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "records.h"
#include "server.h"
#include "sys.h"
#include "text.h"

enum { CONTROL_FD = 3 };

static struct shim shim;

static uint64_t nanoseconds(const struct timespec *at) { return (uint64_t)at->tv_sec * 1000000000u + (uint64_t)at->tv_nsec; }

static struct timespec wall_time(void) {
  struct timespec at;
  clock_gettime(CLOCK_REALTIME, &at);
  return at;
}

/* ---- ends */

static void tell_failed(const struct failure *failure) {
  uint8_t payload[8 + sizeof failure->detail];
  size_t length = strnlen(failure->detail, sizeof failure->detail);
  memcpy(payload, &failure->stage, 4);
  memcpy(payload + 4, &failure->error, 4);
  memcpy(payload + 8, failure->detail, length);
  server_tell(&shim, FRAME_FAILED, payload, 8 + (uint32_t)length);
}

static void leave(int status) {
  if (shim.container.run_dir >= 0) unlinkat(shim.container.run_dir, "shim.sock", 0);
  if (shim.spec.data) groups_remove(&shim.spec);
  _exit(status);
}

_Noreturn static void fail_start(const struct failure *failure) {
  if (shim.container.pid > 0) {
    siginfo_t info;
    sys_pidfd_send_signal(shim.container.pidfd, SIGKILL);
    waitid(P_PIDFD, (id_t)shim.container.pidfd, &info, WEXITED);
  }
  tell_failed(failure);
  leave(1);
  _exit(1);
}

_Noreturn static void fail_here(uint32_t stage, const char *detail) {
  struct failure failure = {.stage = stage, .error = errno};
  strncpy(failure.detail, detail, sizeof failure.detail - 1);
  fail_start(&failure);
}

/* ---- the container's end */

static uint32_t oom_count(void) {
  char content[1024];
  ssize_t length = shim.container.oom < 0 ? -1 : pread(shim.container.oom, content, sizeof content - 1, 0);
  if (length <= 0) return 0;
  content[length] = 0;
  return (uint32_t)text_counter(content, "oom_kill");
}

/* Whatever is in the pipe now. All of the container's processes are gone, but a copy of the end may not be. */
static int read_stream(int *fd, struct log_stream *stream) {
  uint8_t bytes[LOG_PIECE];
  for (;;) {
    ssize_t got = read(*fd, bytes, sizeof bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return 1;
    struct timespec now = wall_time();
    if (got <= 0) {
      log_end(&shim.log, stream, nanoseconds(&now));
      close(*fd);
      *fd = -1;
      return 0;
    }
    log_bytes(&shim.log, stream, bytes, (uint32_t)got, nanoseconds(&now));
    if (got < (ssize_t)sizeof bytes) return 1;
  }
}

static void drain(int *fd, struct log_stream *stream) {
  if (*fd < 0) return;
  read_stream(fd, stream);
  struct timespec now = wall_time();
  log_end(&shim.log, stream, nanoseconds(&now));
}

_Noreturn static void finish(void) {
  siginfo_t info = {0};
  struct exit_status status = {.at = wall_time()};
  waitid(P_PIDFD, (id_t)shim.container.pidfd, &info, WEXITED | WNOWAIT);
  status.code = info.si_code == CLD_EXITED ? (uint32_t)info.si_status : 128 + (uint32_t)info.si_status;
  drain(&shim.container.output, &shim.out);
  drain(&shim.container.error_output, &shim.err);
  status.oom_killed = oom_count() > 0;
  shim.state = SHIM_EXITED;
  /* The record first: until the process is reaped its pid is nobody else's, and its end is not forgotten. */
  records_write_exit(shim.container.data_dir, &status);
  waitid(P_PIDFD, (id_t)shim.container.pidfd, &info, WEXITED);
  struct {
    uint32_t code, oom_killed;
    int64_t seconds;
    uint32_t nanoseconds, unused;
  } event = {status.code, status.oom_killed, status.at.tv_sec, (uint32_t)status.at.tv_nsec, 0};
  server_tell(&shim, FRAME_EXITED, &event, 20);
  leave(0);
  _exit(0);
}

/* ---- the start's outcome, over the error pipe */

static void started(void) {
  struct timespec now = wall_time();
  struct spec_record boot;
  close(shim.container.error);
  close(shim.container.go);
  shim.container.error = shim.container.go = -1;
  shim.state = SHIM_RUNNING;
  struct {
    int64_t seconds;
    uint32_t nanoseconds, unused;
  } event = {now.tv_sec, (uint32_t)now.tv_nsec, 0};
  spec_find(&shim.spec, SPEC_BOOT, &boot);
  records_write_run(shim.container.run_dir, shim.container.pid, boot.string, &now);
  server_tell(&shim, FRAME_STARTED, &event, 12);
}

/* One byte announces the attempt to execute; then comes nothing (it runs), or a failure. */
static void read_outcome(void) {
  static int announced;
  char bytes[sizeof(struct failure) + 1];
  ssize_t got = read(shim.container.error, bytes, sizeof bytes);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  const char *rest = bytes;
  if (got > 0 && (size_t)got != sizeof(struct failure)) {
    announced = 1;
    rest++;
    got--;
    if (got == 0) return;
  }
  if (got == (ssize_t)sizeof(struct failure)) {
    struct failure failure;
    memcpy(&failure, rest, sizeof failure);
    failure.detail[sizeof failure.detail - 1] = 0;
    fail_start(&failure);
  }
  if (announced) return started();
  errno = 0;
  siginfo_t info = {0};
  waitid(P_PIDFD, (id_t)shim.container.pidfd, &info, WEXITED | WNOWAIT);
  fail_here(STAGE_DIED, oom_count() > 0 ? "out of memory" : "");
}

/* ---- set-up */

/* The spec's descriptor, with one byte; until it comes there is nothing to do. Nobody there any more: neither are we. */
static int receive_spec(void) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control = {0};
  char byte;
  struct iovec into = {.iov_base = &byte, .iov_len = 1};
  struct msghdr message = {.msg_iov = &into, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  struct pollfd readable = {.fd = CONTROL_FD, .events = POLLIN};
  while (poll(&readable, 1, -1) < 0)
    ;
  if (recvmsg(CONTROL_FD, &message, MSG_CMSG_CLOEXEC) != 1) _exit(0);
  int fd;
  if (control.header.cmsg_type != SCM_RIGHTS || control.header.cmsg_len != CMSG_LEN(sizeof fd)) _exit(1);
  memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
  return fd;
}

static void read_spec(int fd) {
  struct stat found;
  const char *reason = "";
  if (fstat(fd, &found)) fail_here(STAGE_SPEC, "its descriptor");
  void *data = mmap(0, (size_t)found.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED) fail_here(STAGE_SPEC, "mapping");
  errno = EPROTO;
  if (spec_open(&shim.spec, data, (size_t)found.st_size, &reason)) {
    shim.spec.data = 0;
    fail_here(STAGE_SPEC, reason);
  }
  close(fd);
}

/* Into the place that was kept free for it. */
static void show_id(char *place) {
  struct spec_record id;
  spec_find(&shim.spec, SPEC_ID, &id);
  if (strlen(id.string) <= strlen(place)) strcpy(place, id.string);
}

static void open_directories(void) {
  struct spec_record dirs;
  spec_find(&shim.spec, SPEC_DIRS, &dirs);
  shim.container.data_dir = open(dirs.string, O_PATH | O_DIRECTORY | O_CLOEXEC);
  shim.container.run_dir = open(spec_string(&dirs, 1), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (shim.container.data_dir < 0 || shim.container.run_dir < 0) fail_here(STAGE_SHIM, dirs.string);
}

/* Out of the agent's groups: its limits and its end are not ours. */
static void join_own_groups(void) {
  uint32_t offset = 0;
  struct spec_record record;
  while (spec_next(&shim.spec, &offset, &record))
    if (record.type == SPEC_SHIM_GROUP && write_file(AT_FDCWD, record.string, "0"))
      fail_here(STAGE_GROUP, record.string);
}

static void make_groups(void) {
  const char *culprit = "";
  if (groups_make(&shim.spec, 0, &culprit)) fail_here(STAGE_GROUP, culprit);
  shim.container.oom = groups_open_oom(&shim.spec);
  /* The child joins them; should it have ended, its pipe tells why. */
  ssize_t ignored = write(shim.container.go, "c", 1);
  (void)ignored;
}

/* ---- the loop */

static void cancel_if_alone(void) {
  if (shim.state != SHIM_CREATED || shim.gone || server_clients(&shim) > 0) return;
  errno = ECANCELED;
  fail_here(STAGE_CANCELLED, "");
}

_Noreturn static void run(void) {
  for (;;) {
    struct pollfd fds[5 + CLIENTS_MAX];
    struct client *of[5 + CLIENTS_MAX];
    int own[] = {shim.container.output, shim.container.error_output, shim.container.error, shim.listener,
                 /* While the outcome is open the process's end is read from there. */
                 shim.container.error < 0 ? shim.container.pidfd : -1};
    nfds_t count = 0;
    for (; count < 5; count++) fds[count] = (struct pollfd){.fd = own[count], .events = POLLIN};
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
      if (shim.clients[i].fd < 0) continue;
      of[count] = &shim.clients[i];
      fds[count++] = (struct pollfd){.fd = shim.clients[i].fd, .events = POLLIN};
    }
    if (poll(fds, count, -1) < 0) continue;
    if (fds[0].revents) read_stream(&shim.container.output, &shim.out);
    if (fds[1].revents) read_stream(&shim.container.error_output, &shim.err);
    log_flush(&shim.log);
    if (fds[2].revents) read_outcome();
    for (nfds_t i = 5; i < count; i++)
      if (fds[i].revents) server_serve(&shim, of[i]);
    if (fds[3].revents) server_accept(&shim);
    if (fds[4].revents) finish();
    cancel_if_alone();
  }
}

int main(int argc, char **argv) {
  struct spec_record limits;
  struct failure failure;
  prctl(PR_SET_NAME, "ts-shim");
  signal(SIGPIPE, SIG_IGN);
  umask(022);
  /* The agent runs with a better one; it is not for what it starts. */
  setpriority(PRIO_PROCESS, 0, 0);
  shim.listener = -1;
  shim.container = (struct container){.spec = &shim.spec, .data_dir = -1, .run_dir = -1, .pidfd = -1, .oom = -1};
  shim.out.stream = LOG_STDOUT;
  shim.err.stream = LOG_STDERR;
  for (uint32_t i = 0; i < CLIENTS_MAX; i++) shim.clients[i].fd = -1;
  fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC);
  int spec = receive_spec();
  server_adopt(&shim, CONTROL_FD);
  read_spec(spec);
  if (argc == 2) show_id(argv[1]);
  open_directories();
  spec_find(&shim.spec, SPEC_LOG, &limits);
  log_init(&shim.log, shim.container.data_dir, spec_number(&limits, 0), spec_number(&limits, 1));

  if (container_create(&shim.container, &failure)) fail_start(&failure);
  shim.state = SHIM_CREATED;
  uint32_t pid = (uint32_t)shim.container.pid;
  server_tell(&shim, FRAME_CREATED, &pid, 4);
  /* The agent now makes the network, the child its mounts; meanwhile the groups are made. */
  make_groups();
  join_own_groups();
  if (server_listen(&shim)) fail_here(STAGE_SHIM, "shim.sock");
  run();
}
