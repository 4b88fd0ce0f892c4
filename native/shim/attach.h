/* Connections attached to a process: its output to them, their bytes to its stdin. */
#ifndef TESSERA_SHIM_ATTACH_H
#define TESSERA_SHIM_ATTACH_H

#include "frames.h"
#include "state.h"

/* ATTACH to that process, and its answer. */
void attach_begin(struct shim *shim, struct client *client, const struct frame *frame, uint32_t process);
/* STDIN and STDIN_CLOSE. 1 once answered, 0 when the process does not take more for now. */
int attach_stdin(struct shim *shim, struct client *client, const struct frame *frame);
void attach_close_stdin(struct shim *shim, struct client *client, const struct frame *frame);
/*
 * Reads what the process has written, logs it (the container's own) and passes it on; some pieces at most, so that
 * nobody else waits. `last`: it has ended, and everything is read that is still there.
 */
void attach_read(struct shim *shim, struct process *process, int last);
/* Whether somebody it waits for is full. It waits no longer for one whose patience is over. */
int attach_holds(struct shim *shim, uint32_t process);
/* When to look again, for somebody's patience will be over then: in ms from now, -1 when there is nobody. */
int attach_patience(struct shim *shim);
/* Whether somebody's bytes wait to be taken by it. */
int attach_wants_input(const struct shim *shim, uint32_t process);
/* An event to those attached to the process, behind its output, and to those subscribed. */
void attach_tell(struct shim *shim, uint32_t process, uint16_t type, const void *payload, uint32_t size);
/* Lets everybody go who is attached to it, once they have read what there is. */
void attach_end(struct shim *shim, uint32_t process);

#endif
