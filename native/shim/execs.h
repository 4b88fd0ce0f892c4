/* Execs: processes added to the container while its own runs. */
#ifndef TESSERA_SHIM_EXECS_H
#define TESSERA_SHIM_EXECS_H

#include "frames.h"
#include "state.h"

/* A piece of a spec; the last one makes an exec that waits for GO. */
void execs_add(struct shim *shim, struct client *client, const struct frame *frame);
/* Clones its process. 0, or -1 with errno set and `*what` a sentence. */
int execs_go(struct shim *shim, uint32_t number, const char **what);
struct exec *execs_find(struct shim *shim, uint32_t number);
/* Reads how its start goes. */
void execs_read_outcome(struct shim *shim, struct exec *exec);
/* Its process has ended: writes that down, takes the zombie and tells. */
void execs_finish(struct shim *shim, struct exec *exec);
/* The connection has gone: what waited on its word goes too. */
void execs_forget(struct shim *shim, int owner);
/* Ends what is still there when the container's own process has gone: in a pid namespace of its own, nothing is. */
void execs_kill_all(struct shim *shim);

#endif
