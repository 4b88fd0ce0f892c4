/* The shim's socket: requests answered at once, events to those who subscribed. */
#ifndef TESSERA_SHIM_SERVER_H
#define TESSERA_SHIM_SERVER_H

#include <poll.h>
#include <stdint.h>

#include "../include/shim.h"
#include "container.h"
#include "log.h"

#define CLIENTS_MAX 16u

struct client {
  int fd;
  int subscribed;
  uint32_t used;
  uint8_t input[FRAME_HEADER + FRAME_PAYLOAD_MAX];
};

/* What requests are answered from; main.c keeps it up to date. */
struct shim {
  struct spec spec;
  struct container container;
  struct log log;
  struct log_stream out, err;
  enum shim_state state;
  int gone; /* GO has been passed on */
  int listener;
  struct client clients[CLIENTS_MAX];
};

/* Binds `shim.sock` in the run directory. 0, or -1 with errno set. */
int server_listen(struct shim *shim);
/* Takes an already connected socket: the agent's, at the start. */
void server_adopt(struct shim *shim, int fd);
void server_accept(struct shim *shim);
/* Reads what has come and answers it. */
void server_serve(struct shim *shim, struct client *client);
/* Sends an event to every subscriber; one that does not take it is dropped. */
void server_tell(struct shim *shim, uint16_t type, const void *payload, uint32_t size);
int server_clients(const struct shim *shim);

#endif
