#include "queue.h"

#include <string.h>
#include <sys/mman.h>

/* What an emptied queue may keep: less is not worth asking for again. */
#define KEPT (64u << 10)

int queue_open(struct queue *queue) {
  if (queue->bytes) return 0;
  void *bytes = mmap(0, QUEUE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (bytes == MAP_FAILED) return -1;
  *queue = (struct queue){.bytes = bytes};
  return 0;
}

void queue_close(struct queue *queue) {
  if (queue->bytes) munmap(queue->bytes, QUEUE_SIZE);
  *queue = (struct queue){0};
}

uint32_t queue_used(const struct queue *queue) { return queue->end - queue->begin; }

int queue_add(struct queue *queue, const void *bytes, uint32_t count) {
  uint32_t used = queue_used(queue);
  if (!queue->bytes || count > QUEUE_SIZE - used) return -1;
  if (count > QUEUE_SIZE - queue->end) {
    memmove(queue->bytes, queue->bytes + queue->begin, used);
    queue->begin = 0;
    queue->end = used;
  }
  memcpy(queue->bytes + queue->end, bytes, count);
  queue->end += count;
  if (queue->end > queue->peak) queue->peak = queue->end;
  return 0;
}

void queue_take(struct queue *queue, uint32_t count) {
  queue->begin += count;
  if (queue->begin < queue->end) return;
  if (queue->peak > KEPT) madvise(queue->bytes, QUEUE_SIZE, MADV_DONTNEED);
  queue->begin = queue->end = queue->peak = 0;
}
