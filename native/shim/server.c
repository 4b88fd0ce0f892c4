#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "frames.h"
#include "sys.h"
#include "text.h"

#define SOCKET_NAME "shim.sock"

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
  if (result || listen(fd, 16)) {
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
  client->fd = fd;
  client->used = 0;
  client->subscribed = 1;
}

void server_accept(struct shim *shim) {
  int fd = accept4(shim->listener, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  struct ucred peer = {0};
  socklen_t size = sizeof peer;
  struct client *client = free_client(shim);
  if (!client || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) || peer.uid != 0) {
    close(fd);
    return;
  }
  client->fd = fd;
  client->used = 0;
  client->subscribed = 0;
}

static void drop(struct client *client) {
  close(client->fd);
  client->fd = -1;
}

static void reply(struct client *client, uint16_t type, uint16_t id, const void *payload, uint32_t size) {
  uint8_t bytes[FRAME_HEADER + 512];
  size_t length = frame_write(bytes, type, id, payload, size);
  if (client->fd >= 0 && send(client->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)length) drop(client);
}

void server_tell(struct shim *shim, uint16_t type, const void *payload, uint32_t size) {
  for (uint32_t i = 0; i < CLIENTS_MAX; i++)
    if (shim->clients[i].fd >= 0 && shim->clients[i].subscribed) reply(&shim->clients[i], type, 0, payload, size);
}

static void reply_error(struct client *client, uint16_t id, int error, const char *text) {
  uint8_t payload[260];
  int32_t number = error;
  size_t length = strlen(text) > 256 ? 256 : strlen(text);
  memcpy(payload, &number, 4);
  memcpy(payload + 4, text, length);
  reply(client, FRAME_ERROR, id, payload, 4 + (uint32_t)length);
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
  } state = {shim->state, (uint32_t)shim->container.pid, own_start_time(), SHIM_PROTOCOL, 0};
  reply(client, FRAME_STATE, id, &state, offsetof(__typeof__(state), unused));
}

static void reply_position(const struct shim *shim, struct client *client, uint16_t id) {
  const struct log *log = &shim->log;
  uint64_t position[3] = {log->segments ? log->first[log->segments - 1] : 0, log->size, log->next};
  reply(client, FRAME_POSITION, id, position, sizeof position);
}

static void do_signal(struct shim *shim, struct client *client, const struct frame *frame) {
  uint32_t number;
  if (frame->size != 4) return reply_error(client, frame->id, EINVAL, "signal");
  memcpy(&number, frame->payload, 4);
  if (number < 1 || number > 64) return reply_error(client, frame->id, EINVAL, "signal");
  /* By the pidfd, held since the clone and not reaped yet: it cannot be anybody else. */
  if (sys_pidfd_send_signal(shim->container.pidfd, (int)number)) return reply_error(client, frame->id, errno, "signal");
  reply(client, FRAME_OK, frame->id, 0, 0);
}

static void do_go(struct shim *shim, struct client *client, const struct frame *frame) {
  if (!shim->gone && write(shim->container.go, "g", 1) != 1)
    return reply_error(client, frame->id, errno, "the process has ended");
  shim->gone = 1;
  reply(client, FRAME_OK, frame->id, 0, 0);
}

static void answer(struct shim *shim, struct client *client, const struct frame *frame) {
  switch (frame->type) {
    case FRAME_STATUS: return reply_state(shim, client, frame->id);
    case FRAME_SUBSCRIBE: client->subscribed = 1; return reply_state(shim, client, frame->id);
    case FRAME_GO: return do_go(shim, client, frame);
    case FRAME_SIGNAL: return do_signal(shim, client, frame);
    case FRAME_LOG_POSITION: return reply_position(shim, client, frame->id);
    default: return reply_error(client, frame->id, ENOSYS, "unimplemented");
  }
}

void server_serve(struct shim *shim, struct client *client) {
  ssize_t got = recv(client->fd, client->input + client->used, sizeof client->input - client->used, MSG_DONTWAIT);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return drop(client);
  if (got < 0) return;
  client->used += (uint32_t)got;
  uint32_t done = 0;
  while (client->fd >= 0) {
    struct frame frame;
    int length = frame_read(client->input + done, client->used - done, &frame);
    if (length < 0) return drop(client);
    if (length == 0) break;
    answer(shim, client, &frame);
    done += (uint32_t)length;
  }
  memmove(client->input, client->input + done, client->used - done);
  client->used -= done;
}

int server_clients(const struct shim *shim) {
  int count = 0;
  for (uint32_t i = 0; i < CLIENTS_MAX; i++) count += shim->clients[i].fd >= 0;
  return count;
}
