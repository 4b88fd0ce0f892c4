/* What a process says on its way to the command. */
#ifndef TESSERA_SHIM_OUTCOME_H
#define TESSERA_SHIM_OUTCOME_H

#include "container.h"

enum outcome {
  OUTCOME_NONE,    /* nothing more for now */
  OUTCOME_DEVPTS,  /* descriptors came: of its devpts, of its terminal's master or -1 */
  OUTCOME_PROCESS, /* the process itself, of which only its helper was known: pid and pidfd have been taken over */
  OUTCOME_RUNS,    /* the command has been executed */
  OUTCOME_FAILED,  /* `failure` says why not */
  OUTCOME_DIED     /* it ended without a word */
};

/* Reads one word; after OUTCOME_RUNS, or OUTCOME_DIED, there is none. A failure may come before its process does. */
enum outcome outcome_read(struct process *process, struct failure *failure, int fds[2]);

#endif
