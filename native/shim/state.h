/* What one shim knows and holds. */
#ifndef TESSERA_SHIM_STATE_H
#define TESSERA_SHIM_STATE_H

#include <time.h>

#include "../include/shim.h"
#include "client.h"
#include "container.h"
#include "log.h"

enum exec_state {
  EXEC_FREE,
  EXEC_WAITING,  /* for GO; goes with the connection that brought its spec */
  EXEC_STARTING,
  EXEC_RUNNING,
  EXEC_FAILED    /* has said so, and is still to be taken */
};

/* A process that was added to the container. */
struct exec {
  enum exec_state state;
  struct process process;
  struct upload bytes; /* of its spec */
  struct spec spec;
  struct timespec started;
  int owner;           /* waiting: index of its connection */
  int has_failed;      /* `failure` came, and the end of the start has not yet */
  struct failure failure;
};

struct shim {
  struct spec spec;
  struct container container;
  struct log log;
  struct log_stream out, err;
  enum shim_state state;
  int gone; /* GO has been passed on */
  int listener;
  uint32_t next_exec;
  struct client clients[CLIENTS_MAX];
  struct exec execs[EXECS_MAX];
  /* Last, and touched by those alone that use them: what stands above fills few pages. */
  uint8_t stage[LOG_STAGE], lines[2][LOG_PIECE];
  uint8_t inputs[CLIENTS_MAX][CLIENT_INPUT];
};

/* The process of that number; 0 when there is none. */
struct process *shim_process(struct shim *shim, uint32_t number);
int shim_has_terminal(const struct shim *shim, uint32_t number);

static inline uint64_t nanoseconds(const struct timespec *at) {
  return (uint64_t)at->tv_sec * 1000000000u + (uint64_t)at->tv_nsec;
}
static inline struct timespec wall_time(void) {
  struct timespec at;
  clock_gettime(CLOCK_REALTIME, &at);
  return at;
}

#endif
