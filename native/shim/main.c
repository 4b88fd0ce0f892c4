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
#include <unistd.h>

#include "attach.h"
#include "ends.h"
#include "execs.h"
#include "init.h"
#include "server.h"
#include "sys.h"
#include "text.h"

enum { CONTROL_FD = 3 };

static struct shim shim;

struct process *shim_process(struct shim *state, uint32_t number) {
  if (number == 0) return &state->container.first;
  struct exec *exec = execs_find(state, number);
  return exec && exec->state != EXEC_FAILED ? &exec->process : 0;
}

int shim_has_terminal(const struct shim *state, uint32_t number) {
  const struct spec *spec = &state->spec;
  struct spec_record flags;
  for (uint32_t i = 0; number && i < EXECS_MAX; i++)
    if (state->execs[i].state != EXEC_FREE && state->execs[i].process.number == number) spec = &state->execs[i].spec;
  spec_find(spec, SPEC_FLAGS, &flags);
  return !!(spec_number(&flags, 0) & SPEC_FLAG_TTY);
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
  if (fstat(fd, &found)) fail_here(&shim, STAGE_SPEC, "its descriptor");
  void *data = mmap(0, (size_t)found.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED) fail_here(&shim, STAGE_SPEC, "mapping");
  errno = EPROTO;
  if (spec_open(&shim.spec, data, (size_t)found.st_size, &reason)) {
    shim.spec.data = 0;
    fail_here(&shim, STAGE_SPEC, reason);
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
  if (shim.container.data_dir < 0 || shim.container.run_dir < 0) fail_here(&shim, STAGE_SHIM, dirs.string);
}

/* Out of the agent's groups: its limits and its end are not ours. */
static void join_own_groups(void) {
  uint32_t offset = 0;
  struct spec_record record;
  while (spec_next(&shim.spec, &offset, &record))
    if (record.type == SPEC_SHIM_GROUP && write_file(AT_FDCWD, record.string, "0"))
      fail_here(&shim, STAGE_GROUP, record.string);
}

static void make_groups(void) {
  const char *culprit = "";
  if (groups_make(&shim.spec, 0, &culprit)) fail_here(&shim, STAGE_GROUP, culprit);
  shim.container.oom = groups_open_oom(&shim.spec);
  /* The child joins them; should it have ended, its pipe tells why. */
  ssize_t ignored = write(shim.container.go, "c", 1);
  (void)ignored;
}

/* ---- the loop */

static void cancel_if_alone(void) {
  if (shim.state != SHIM_CREATED || shim.gone || server_clients(&shim) > 0) return;
  errno = ECANCELED;
  fail_here(&shim, STAGE_CANCELLED, "");
}

/* What is looked at in one turn, in the order it is then handled: a process's output before its end. */
enum watched { WATCH_OUTPUT, WATCH_OUTCOME, WATCH_INPUT, WATCH_CLIENT, WATCH_LISTENER, WATCH_END };
#define WATCHED_MAX (2 + 5 * (1 + EXECS_MAX) + CLIENTS_MAX)

/* The few that there nearly always are lie in one page. */
struct watch {
  nfds_t count;
  uint8_t what[WATCHED_MAX];
  uint32_t which[WATCHED_MAX]; /* a process's number, a client's index */
  struct pollfd fds[WATCHED_MAX];
};

static void add(struct watch *watch, int fd, short events, enum watched what, uint32_t which) {
  if (fd < 0) return;
  watch->fds[watch->count] = (struct pollfd){.fd = fd, .events = events};
  watch->what[watch->count] = (uint8_t)what;
  watch->which[watch->count++] = which;
}

static void add_streams(struct watch *watch, const struct process *process) {
  if (!attach_holds(&shim, process->number)) {
    add(watch, process->streams.output, POLLIN, WATCH_OUTPUT, process->number);
    add(watch, process->streams.error_output, POLLIN, WATCH_OUTPUT, process->number);
  }
  add(watch, process->outcome, POLLIN, WATCH_OUTCOME, process->number);
  if (attach_wants_input(&shim, process->number))
    add(watch, process->streams.input, POLLOUT, WATCH_INPUT, process->number);
}

/* While the outcome is open the process's end is read from there. */
static void add_end(struct watch *watch, const struct process *process) {
  if (process->outcome < 0) add(watch, process->pidfd, POLLIN, WATCH_END, process->number);
}

static void look(struct watch *watch) {
  watch->count = 0;
  add_streams(watch, &shim.container.first);
  for (uint32_t i = 0; i < EXECS_MAX; i++)
    if (shim.execs[i].state >= EXEC_STARTING) add_streams(watch, &shim.execs[i].process);
  for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
    const struct client *client = &shim.clients[i];
    short in = client->blocked || client->leaving ? 0 : POLLIN;
    short out = queue_used(&client->queue) ? POLLOUT : 0;
    add(watch, client->fd, in | out, WATCH_CLIENT, i);
  }
  add(watch, shim.listener, POLLIN, WATCH_LISTENER, 0);
  for (uint32_t i = 0; i < EXECS_MAX; i++)
    if (shim.execs[i].state >= EXEC_STARTING) add_end(watch, &shim.execs[i].process);
  add_end(watch, &shim.container.first);
}

static void serve(struct client *client, short events) {
  if (client->fd < 0) return;
  if (events & POLLOUT) client_flush(client);
  if (client->fd >= 0 && (events & POLLIN) && !client->leaving) server_serve(&shim, client);
  else if (client->fd >= 0 && (events & (POLLHUP | POLLERR))) server_drop(&shim, client);
}

/* Something handled earlier in the same turn may have ended what this is about. */
static void handle(enum watched what, uint32_t which, short events) {
  struct exec *exec = execs_find(&shim, which);
  switch (what) {
    case WATCH_CLIENT: return serve(&shim.clients[which], events);
    case WATCH_LISTENER: return server_accept(&shim);
    case WATCH_INPUT: return server_feed(&shim, which);
    default: break;
  }
  if (which && !exec) return;
  struct process *process = which ? &exec->process : &shim.container.first;
  if (what == WATCH_OUTPUT) attach_read(&shim, process, 0);
  else if (what == WATCH_OUTCOME && !which) read_outcome(&shim);
  else if (what == WATCH_OUTCOME) execs_read_outcome(&shim, exec);
  else if (!which) finish(&shim);
  else execs_finish(&shim, exec);
}

_Noreturn static void run(void) {
  static struct watch watch;
  for (;;) {
    look(&watch);
    if (poll(watch.fds, watch.count, attach_patience(&shim)) < 0) continue;
    int logged = 0;
    for (nfds_t i = 0; i < watch.count; i++) {
      if (!watch.fds[i].revents) continue;
      handle(watch.what[i], watch.which[i], watch.fds[i].revents);
      logged |= watch.what[i] == WATCH_OUTPUT;
    }
    if (logged) log_flush(&shim.log);
    cancel_if_alone();
  }
}

int main(int argc, char **argv) {
  struct spec_record limits;
  struct failure failure;
  if (argc > 0 && strcmp(argv[0], INIT_NAME) == 0) return init_main(argc, argv);
  prctl(PR_SET_NAME, "ts-shim");
  prctl(PR_SET_DUMPABLE, 0); /* before any process of the container's could look: execs are made of this one */
  signal(SIGPIPE, SIG_IGN);
  umask(022);
  /* The agent runs with a better one; it is not for what it starts. */
  setpriority(PRIO_PROCESS, 0, 0);
  shim.listener = -1;
  shim.container = (struct container){.spec = &shim.spec, .data_dir = -1, .run_dir = -1, .go = -1, .devpts = -1,
                                      .proc = -1, .shm = -1, .oom = -1};
  shim.container.first = (struct process){.pidfd = -1, .helper = -1, .outcome = -1};
  streams_init(&shim.container.first.streams);
  shim.log.stage = shim.stage;
  shim.out = (struct log_stream){.stream = LOG_STDOUT, .line = shim.lines[0]};
  shim.err = (struct log_stream){.stream = LOG_STDERR, .line = shim.lines[1]};
  for (uint32_t i = 0; i < CLIENTS_MAX; i++) shim.clients[i] = (struct client){.fd = -1, .input = shim.inputs[i]};
  fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC);
  int spec = receive_spec();
  server_adopt(&shim, CONTROL_FD);
  read_spec(spec);
  if (argc == 2) show_id(argv[1]);
  open_directories();
  spec_find(&shim.spec, SPEC_LOG, &limits);
  log_init(&shim.log, shim.container.data_dir, spec_number(&limits, 0), spec_number(&limits, 1));

  if (container_create(&shim.container, &failure)) fail_start(&shim, &failure);
  shim.state = SHIM_CREATED;
  uint32_t pid = (uint32_t)shim.container.first.pid;
  server_tell(&shim, FRAME_CREATED, &pid, 4);
  /* The agent now makes the network, the child its mounts; meanwhile the groups are made. */
  make_groups();
  join_own_groups();
  if (server_listen(&shim)) fail_here(&shim, STAGE_SHIM, "shim.sock");
  run();
}
