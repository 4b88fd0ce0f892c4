#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "attach.h"
#include "execs.h"
#include "frames.h"
#include "sys.h"
#include "text.h"

#define SOCKET_NAME "shim.sock"
/* How long a connection may take nothing at the end, in ms. */
#define LINGER_MS 5000

int server_listen(struct shim *shim) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  struct text path;
  /* Through the directory's descriptor: a run directory's path may be longer than a socket's may be. */
  text_init(&path, address.sun_path, sizeof address.sun_path);
  text_add(&path, "/proc/self/fd/");
  text_number(&path, (uint64_t)shim->container.run_dir);
  text_add(&path, "/" SOCKET_NAME);
  unlinkat(shim->container.run_dir, SOCKET_NAME, 0);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  mode_t mask = umask(0077);
  int result = bind(fd, (struct sockaddr *)&address, sizeof address);
  umask(mask);
  if (result || listen(fd, 128)) {
    int error = errno;
    close(fd);
    errno = error;
    return -1;
  }
  shim->listener = fd;
  return 0;
}

static struct client *free_client(struct shim *shim) {
  for (uint32_t i = 0; i < CLIENTS_MAX; i++)
    if (shim->clients[i].fd < 0) return &shim->clients[i];
  return 0;
}

void server_adopt(struct shim *shim, int fd) {
  struct client *client = free_client(shim);
  client_take(client, fd);
  client->subscribed = 1;
}

void server_accept(struct shim *shim) {
  int fd = accept4(shim->listener, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  struct ucred peer = {0};
  socklen_t size = sizeof peer;
  struct client *client = free_client(shim);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) || peer.uid != 0) {
    close(fd);
    return;
  }
  if (!client) { /* told so, by a connection that is not kept */
    struct client refused = {0};
    client_take(&refused, fd);
    client_error(&refused, 0, EAGAIN, "too many connections");
    client_drop(&refused);
    return;
  }
  execs_forget(shim, (int)(client - shim->clients));
  client_take(client, fd);
}

void server_drop(struct shim *shim, struct client *client) {
  if (client->fd >= 0) client_drop(client);
  execs_forget(shim, (int)(client - shim->clients));
}

void server_tell(struct shim *shim, uint16_t type, const void *payload, uint32_t size) {
  for (uint32_t i = 0; i < CLIENTS_MAX; i++)
    if (shim->clients[i].fd >= 0 && shim->clients[i].subscribed)
      client_send(&shim->clients[i], type, 0, payload, size);
}

static uint64_t own_start_time(void) {
  char stat[1024];
  int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  ssize_t length = fd < 0 ? -1 : read(fd, stat, sizeof stat - 1);
  if (fd >= 0) close(fd);
  if (length <= 0) return 0;
  stat[length] = 0;
  return text_stat_field(stat, 22);
}

static void reply_state(const struct shim *shim, struct client *client, uint16_t id) {
  struct {
    uint32_t state, pid;
    uint64_t start_time;
    uint32_t protocol, unused;
  } state = {shim->state, (uint32_t)shim->container.first.pid, own_start_time(), SHIM_PROTOCOL, 0};
  client_send(client, FRAME_STATE, id, &state, offsetof(__typeof__(state), unused));
}

static void reply_position(const struct shim *shim, struct client *client, uint16_t id) {
  uint64_t position[3];
  log_position(&shim->log, position);
  client_send(client, FRAME_POSITION, id, position, sizeof position);
}

/* OK, or errno's name for why not. */
static void reply_result(struct client *client, uint16_t id, int result, const char *what) {
  if (result) client_error(client, id, errno, what);
  else client_send(client, FRAME_OK, id, 0, 0);
}

/* The process named at `at` of a frame that may lack it: then the container's own is meant. */
static uint32_t process_at(const struct client *client, const struct frame *frame, uint32_t at) {
  uint32_t number = 0;
  if (frame->size >= at + 4) memcpy(&number, frame->payload + at, 4);
  return number == EXEC_OWN ? client->exec : number;
}

static void do_signal(struct shim *shim, struct client *client, const struct frame *frame) {
  uint32_t number;
  if (frame->size != 4 && frame->size != 8) return client_error(client, frame->id, EINVAL, "signal");
  memcpy(&number, frame->payload, 4);
  if (number < 1 || number > 64) return client_error(client, frame->id, EINVAL, "signal");
  const struct process *process = shim_process(shim, process_at(client, frame, 4));
  if (!process || process->pidfd < 0) return client_error(client, frame->id, ESRCH, "signal");
  /* By the pidfd, held since the clone and not reaped yet: it cannot be anybody else. */
  reply_result(client, frame->id, sys_pidfd_send_signal(process->pidfd, (int)number), "signal");
}

static int go(struct shim *shim) {
  const struct streams *streams = &shim->container.first.streams;
  struct {
    char pad[3], word;
    struct terminal_size size;
  } message = {{0}, 'g', {streams->rows, streams->columns}};
  size_t size = shim_has_terminal(shim, 0) ? 1 + sizeof message.size : 1;
  if (!shim->gone && write(shim->container.go, &message.word, size) != (ssize_t)size) return -1;
  shim->gone = 1;
  return 0;
}

static void do_go(struct shim *shim, struct client *client, const struct frame *frame) {
  const char *what = "the process has ended";
  uint32_t number = process_at(client, frame, 0);
  int result = number ? execs_go(shim, number, &what) : go(shim);
  reply_result(client, frame->id, result, what);
}

static void do_resize(struct shim *shim, struct client *client, const struct frame *frame) {
  uint16_t size[2];
  if (frame->size != 8) return client_error(client, frame->id, EINVAL, "resize");
  uint32_t number = process_at(client, frame, 0);
  memcpy(size, frame->payload + 4, 4);
  struct process *process = shim_process(shim, number);
  if (!process) return client_error(client, frame->id, ESRCH, "resize");
  int result = streams_resize(&process->streams, shim_has_terminal(shim, number), size[0], size[1]);
  reply_result(client, frame->id, result, "resize");
}

/* 1 once it is answered, 0 when it has to wait. */
static int answer(struct shim *shim, struct client *client, const struct frame *frame) {
  switch (frame->type) {
    case FRAME_STATUS: reply_state(shim, client, frame->id); break;
    case FRAME_SUBSCRIBE:
      client->subscribed = 1;
      reply_state(shim, client, frame->id);
      break;
    case FRAME_GO: do_go(shim, client, frame); break;
    case FRAME_SIGNAL: do_signal(shim, client, frame); break;
    case FRAME_LOG_POSITION: reply_position(shim, client, frame->id); break;
    case FRAME_ATTACH: attach_begin(shim, client, frame, process_at(client, frame, 0)); break;
    case FRAME_STDIN: return attach_stdin(shim, client, frame);
    case FRAME_STDIN_CLOSE: attach_close_stdin(shim, client, frame); break;
    case FRAME_RESIZE: do_resize(shim, client, frame); break;
    case FRAME_EXEC: execs_add(shim, client, frame); break;
    case FRAME_LEND: loan_give(shim, client, frame->id); break;
    default: client_error(client, frame->id, ENOSYS, "unimplemented");
  }
  return 1;
}

/* Answers the frames that are there, until one has to wait. */
static void answer_all(struct shim *shim, struct client *client) {
  uint32_t done = 0;
  client->blocked = 0;
  while (client->fd >= 0 && !client->blocked && !client->leaving) {
    struct frame frame;
    int length = frame_read(client->input + done, client->used - done, &frame);
    if (length < 0) return server_drop(shim, client);
    if (length == 0) break;
    if (answer(shim, client, &frame)) done += (uint32_t)length;
    else client->blocked = 1;
  }
  memmove(client->input, client->input + done, client->used - done);
  client->used -= done;
}

void server_serve(struct shim *shim, struct client *client) {
  ssize_t got = recv(client->fd, client->input + client->used, CLIENT_INPUT - client->used, MSG_DONTWAIT);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return server_drop(shim, client);
  if (got < 0) return;
  client->used += (uint32_t)got;
  answer_all(shim, client);
}

void server_feed(struct shim *shim, uint32_t process) {
  for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
    struct client *client = &shim->clients[i];
    if (client->fd >= 0 && client->blocked && client->process == process) answer_all(shim, client);
  }
}

int server_clients(const struct shim *shim) {
  int count = 0;
  for (uint32_t i = 0; i < CLIENTS_MAX; i++) count += shim->clients[i].fd >= 0;
  return count;
}

/* A connection closed with something unread in it would lose what the other end has not read yet. */
static void discard_input(const struct client *client) {
  char bytes[1024];
  while (recv(client->fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
    ;
}

void server_linger(struct shim *shim) {
  for (;;) {
    struct pollfd fds[CLIENTS_MAX];
    struct client *of[CLIENTS_MAX];
    nfds_t count = 0;
    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
      struct client *client = &shim->clients[i];
      if (client->fd < 0) continue;
      discard_input(client);
      if (queue_used(&client->queue) == 0) continue;
      of[count] = client;
      fds[count++] = (struct pollfd){.fd = client->fd, .events = POLLOUT};
    }
    if (count == 0 || poll(fds, count, LINGER_MS) <= 0) return;
    for (nfds_t i = 0; i < count; i++)
      if (fds[i].revents) client_flush(of[i]);
  }
}
