/* The shim's socket: requests answered in order, events to those who subscribed. */
#ifndef TESSERA_SHIM_SERVER_H
#define TESSERA_SHIM_SERVER_H

#include "state.h"

/* Binds `shim.sock` in the run directory. 0, or -1 with errno set. */
int server_listen(struct shim *shim);
/* Takes an already connected socket: the agent's, at the start. */
void server_adopt(struct shim *shim, int fd);
void server_accept(struct shim *shim);
/* Reads what has come and answers it. */
void server_serve(struct shim *shim, struct client *client);
/* Goes on with those whose bytes wait for this process's stdin. */
void server_feed(struct shim *shim, uint32_t process);
/* Drops it, with what waits for its word. */
void server_drop(struct shim *shim, struct client *client);
/* Sends an event to every subscriber; one that does not take it is dropped. */
void server_tell(struct shim *shim, uint16_t type, const void *payload, uint32_t size);
int server_clients(const struct shim *shim);
/* At the end: until all have taken what waits for them, or take nothing for some seconds. */
void server_linger(struct shim *shim);

#endif
