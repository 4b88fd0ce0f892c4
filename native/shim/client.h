/* One connection to the shim: what it has sent and was not answered yet, what it was sent and has not taken yet. */
#ifndef TESSERA_SHIM_CLIENT_H
#define TESSERA_SHIM_CLIENT_H

#include <stdint.h>

#include "../include/shim.h"
#include "queue.h"

/* Output that may wait for one connection; what is above it in the queue is for answers, events and a process's last output. */
#define OUTPUT_MAX (1u << 20)
/* Kept for answers and events when the last output has filled the rest. */
#define EVENTS_ROOM (64u << 10)

#define CLIENT_INPUT (FRAME_HEADER + FRAME_PAYLOAD_MAX)

/* An exec's spec on its way. */
struct upload {
  uint8_t *bytes; /* mapped; 0: none */
  uint32_t size, have;
};

struct client {
  int fd;
  int subscribed;
  int attached;
  uint32_t process, flags; /* attached: to what, ATTACH_* */
  int leaving;             /* closed as soon as it has taken what is in its queue */
  uint64_t full_since;     /* monotonic ms: has been full since, and taken nothing; 0: it takes */
  int blocked;             /* the frame at the front of `input` is a STDIN that has not been taken whole */
  uint32_t stdin_done;     /* bytes of it that have */
  uint32_t exec;           /* EXEC_OWN: the number of the exec it has brought; EXEC_OWN itself when there is none */
  uint32_t used;
  uint8_t *input;          /* CLIENT_INPUT bytes; apart, so that only those in use take memory */
  struct queue queue;
  struct upload upload;
};

void client_take(struct client *client, int fd);
void client_drop(struct client *client);
/* Sends a frame, now or through its queue. A connection that can have neither is dropped. */
void client_send(struct client *client, uint16_t type, uint16_t id, const void *payload, uint32_t size);
void client_error(struct client *client, uint16_t id, int error, const char *text);
/*
 * Sends output. 0, or -1 when so much of it waits already that it was not sent. `last`: there is no more to come, and
 * what is over the bound still has room.
 */
int client_output(struct client *client, uint8_t stream, const uint8_t *bytes, uint32_t count, int last);
/* Tells it that it reads too slowly; it is closed once it has taken what is there. */
void client_detach(struct client *client);
/* Whether no more output should be made for it now. */
int client_is_full(const struct client *client);
/* Sends what waits, as far as the connection takes it. */
void client_flush(struct client *client);
/* Takes an exec's next piece. 1: it is whole, 0: more is to come, -1: errno is set. */
int upload_add(struct upload *upload, uint32_t offset, uint32_t size, const uint8_t *bytes, uint32_t count);
void upload_drop(struct upload *upload);

#endif
