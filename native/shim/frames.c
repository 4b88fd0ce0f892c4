#include "frames.h"

#include <string.h>

int frame_read(const uint8_t *bytes, size_t count, struct frame *frame) {
  if (count < FRAME_HEADER) return 0;
  memcpy(&frame->size, bytes, 4);
  memcpy(&frame->type, bytes + 4, 2);
  memcpy(&frame->id, bytes + 6, 2);
  frame->payload = bytes + FRAME_HEADER;
  if (frame->size > FRAME_PAYLOAD_MAX) return -1;
  return count - FRAME_HEADER < frame->size ? 0 : (int)(FRAME_HEADER + frame->size);
}

void frame_header(uint8_t to[FRAME_HEADER], uint16_t type, uint16_t id, uint32_t size) {
  memcpy(to, &size, 4);
  memcpy(to + 4, &type, 2);
  memcpy(to + 6, &id, 2);
}
