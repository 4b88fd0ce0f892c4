/* Bytes that wait for a connection to take them: a bounded queue, mapped while it is wanted. */
#ifndef TESSERA_SHIM_QUEUE_H
#define TESSERA_SHIM_QUEUE_H

#include <stdint.h>

#define QUEUE_SIZE (4u << 20)

struct queue {
  uint8_t *bytes; /* 0: there is none */
  uint32_t begin, end;
  uint32_t peak;  /* the furthest end since it was last empty */
};

/* 0, or -1 with errno set. May be repeated. */
int queue_open(struct queue *queue);
void queue_close(struct queue *queue);
uint32_t queue_used(const struct queue *queue);
/* Adds to the end, or nothing at all. 0, or -1 when there is no room. */
int queue_add(struct queue *queue, const void *bytes, uint32_t count);
/* Takes what has been sent from the front; an emptied queue gives its memory back. */
void queue_take(struct queue *queue, uint32_t count);

#endif
