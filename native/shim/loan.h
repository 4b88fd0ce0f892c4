/* What a container that is joined lends: its namespaces, by its first process, and what is mounted for them. */
#ifndef TESSERA_SHIM_LOAN_H
#define TESSERA_SHIM_LOAN_H

#include <stdint.h>

#include "../include/spec.h"

struct shim;
struct client;
struct failure;

#define LOANS_MAX 3u /* pid, ipc and network may be of different containers */
struct loan {
  uint64_t namespaces; /* CLONE_NEW* flags of what is joined */
  int process;         /* pidfd of the other's first process */
  int proc, shm;       /* copies of its mounts, ready to be moved; -1 where they are not wanted */
};
struct loans {
  unsigned count;
  struct loan of[LOANS_MAX];
};

/* Asks the shims of the containers that the spec's JOIN records name. 0, or -1 with `failure` filled. */
int loans_take(const struct spec *spec, struct loans *loans, struct failure *failure);
void loans_close(struct loans *loans);
/* The mount lent for "proc" or "shm", or -1. */
int loans_mount(const struct loans *loans, const char *what);
/* Whether a namespace of these flags is joined. */
int loans_join(const struct loans *loans, uint64_t namespaces);
/* Answers LEND. */
void loan_give(struct shim *shim, struct client *client, uint16_t id);

#endif
