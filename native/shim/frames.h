/* Framing: u32 size, u16 type, u16 id, payload (include/shim.h). Reads foreign bytes, so it is tested alone. */
#ifndef TESSERA_SHIM_FRAMES_H
#define TESSERA_SHIM_FRAMES_H

#include <stddef.h>
#include <stdint.h>

#include "../include/shim.h"

struct frame {
  uint32_t size; /* of the payload */
  uint16_t type, id;
  const uint8_t *payload;
};

/* The frame at the beginning of `bytes`: its whole length, 0 when more bytes are needed, -1 when it is too long. */
int frame_read(const uint8_t *bytes, size_t count, struct frame *frame);
/* The header of a frame whose payload has `size` bytes. */
void frame_header(uint8_t to[FRAME_HEADER], uint16_t type, uint16_t id, uint32_t size);

#endif
