/* How a container's start and its command end, and with them the shim. */
#ifndef TESSERA_SHIM_ENDS_H
#define TESSERA_SHIM_ENDS_H

#include "state.h"

_Noreturn void fail_start(struct shim *shim, const struct failure *failure);
/* With errno as the reason. */
_Noreturn void fail_here(struct shim *shim, uint32_t stage, const char *detail);
/* The container's process has ended. */
_Noreturn void finish(struct shim *shim);
/* Reads what the first process says, until its start is decided. */
void read_outcome(struct shim *shim);

#endif
