#include "client.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../include/spec.h"
#include "frames.h"

void client_take(struct client *client, int fd) {
  client->fd = fd;
  client->subscribed = client->attached = client->leaving = client->blocked = 0;
  client->used = client->stdin_done = 0;
  client->full_since = 0;
  client->exec = EXEC_OWN;
}

void client_drop(struct client *client) {
  close(client->fd);
  client->fd = -1;
  client->attached = client->blocked = client->leaving = 0;
  queue_close(&client->queue);
  upload_drop(&client->upload);
}

/* What has not been sent goes into the queue, whole frames always. */
static void send_parts(struct client *client, struct iovec *part, int count) {
  ssize_t sent = 0;
  if (queue_used(&client->queue) == 0) {
    struct msghdr message = {.msg_iov = part, .msg_iovlen = (size_t)count};
    while ((sent = sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT)) < 0 && errno == EINTR)
      ;
    if (sent < 0 && errno != EAGAIN) return client_drop(client);
    if (sent < 0) sent = 0;
  }
  for (int i = 0; i < count; i++) {
    size_t skipped = (size_t)sent < part[i].iov_len ? (size_t)sent : part[i].iov_len;
    sent -= (ssize_t)skipped;
    uint32_t left = (uint32_t)(part[i].iov_len - skipped);
    if (left && queue_add(&client->queue, (uint8_t *)part[i].iov_base + skipped, left)) return client_drop(client);
  }
}

void client_send(struct client *client, uint16_t type, uint16_t id, const void *payload, uint32_t size) {
  uint8_t header[FRAME_HEADER];
  if (client->fd < 0) return;
  frame_header(header, type, id, size);
  struct iovec part[] = {{header, sizeof header}, {(void *)(uintptr_t)payload, size}};
  send_parts(client, part, 2);
}

void client_error(struct client *client, uint16_t id, int error, const char *text) {
  uint8_t payload[260];
  int32_t number = error;
  size_t length = strlen(text) > 256 ? 256 : strlen(text);
  memcpy(payload, &number, 4);
  memcpy(payload + 4, text, length);
  client_send(client, FRAME_ERROR, id, payload, 4 + (uint32_t)length);
}

void client_detach(struct client *client) {
  static const char text[] = "the output was not read fast enough";
  uint8_t payload[4 + sizeof text - 1];
  int32_t number = ENOBUFS;
  memcpy(payload, &number, 4);
  memcpy(payload + 4, text, sizeof text - 1);
  client->leaving = 1;
  client_send(client, FRAME_DETACHED, 0, payload, sizeof payload);
}

int client_output(struct client *client, uint8_t stream, const uint8_t *bytes, uint32_t count, int last) {
  uint8_t header[FRAME_HEADER + 1];
  if (client->leaving) return 0;
  uint32_t most = last ? QUEUE_SIZE - EVENTS_ROOM : OUTPUT_MAX;
  if (queue_used(&client->queue) + sizeof header + count > most) return -1;
  frame_header(header, FRAME_OUTPUT, 0, 1 + count);
  header[FRAME_HEADER] = stream;
  struct iovec part[] = {{header, sizeof header}, {(void *)(uintptr_t)bytes, count}};
  send_parts(client, part, 2);
  return 0;
}

int client_is_full(const struct client *client) {
  return queue_used(&client->queue) + FRAME_HEADER + 1 + LOG_PIECE > OUTPUT_MAX;
}

void client_flush(struct client *client) {
  struct queue *queue = &client->queue;
  while (client->fd >= 0 && queue_used(queue) > 0) {
    ssize_t sent = send(client->fd, queue->bytes + queue->begin, queue_used(queue), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) return client_drop(client);
    queue_take(queue, (uint32_t)sent);
    client->full_since = 0;
  }
  if (client->fd >= 0 && client->leaving) client_drop(client);
}

int upload_add(struct upload *upload, uint32_t offset, uint32_t size, const uint8_t *bytes, uint32_t count) {
  if (offset == 0) upload_drop(upload);
  errno = EINVAL;
  if (offset != upload->have || size == 0 || size > SPEC_SIZE_MAX || count > size - offset) return -1;
  if (offset == 0) {
    void *room = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) return -1;
    *upload = (struct upload){.bytes = room, .size = size};
  }
  if (size != upload->size) return -1;
  memcpy(upload->bytes + offset, bytes, count);
  upload->have += count;
  return upload->have == size;
}

void upload_drop(struct upload *upload) {
  if (upload->bytes) munmap(upload->bytes, upload->size);
  *upload = (struct upload){0};
}
