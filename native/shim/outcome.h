/* What a process says on its way to the command. */
#ifndef TESSERA_SHIM_OUTCOME_H
#define TESSERA_SHIM_OUTCOME_H

#include "container.h"

enum outcome {
  OUTCOME_NONE,    /* nothing more for now */
  OUTCOME_MOUNTS,  /* descriptors came of its mounts and its terminal: `word` says which */
  OUTCOME_PROCESS, /* the process itself, of which only its helper was known: pid and pidfd have been taken over */
  OUTCOME_RUNS,    /* the command has been executed */
  OUTCOME_FAILED,  /* `failure` says why not */
  OUTCOME_DIED     /* it ended without a word */
};

/* Reads one word; after OUTCOME_RUNS, or OUTCOME_DIED, there is none. A failure may come before its process does. */
enum outcome outcome_read(struct process *process, struct failure *failure, struct child_word *word,
                          int fds[CHILD_FDS_MAX]);
/* Takes the zombie of a helper that has ended, or is about to: it does nothing after its part of the outcome. */
void outcome_take_helper(struct process *process);

#endif
