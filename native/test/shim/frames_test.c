#include <stdlib.h>

#include "../../shim/frames.h"
#include "check.h"

/* A whole frame. Its length. */
static size_t frame_write(uint8_t *to, uint16_t type, uint16_t id, const void *payload, uint32_t size) {
  frame_header(to, type, id, size);
  memcpy(to + FRAME_HEADER, payload, size);
  return FRAME_HEADER + size;
}

void test_frames(void) {
  uint8_t bytes[FRAME_HEADER + FRAME_PAYLOAD_MAX];
  uint8_t payload[FRAME_PAYLOAD_MAX] = "payload";
  struct frame frame;
  CHECK(frame_write(bytes, FRAME_SIGNAL, 7, payload, 8) == FRAME_HEADER + 8);
  for (size_t count = 0; count < FRAME_HEADER + 8; count++) { /* in memory that ends where the bytes do */
    uint8_t *part = malloc(count ? count : 1);
    memcpy(part, bytes, count);
    CHECK(frame_read(part, count, &frame) == 0);
    free(part);
  }
  CHECK(frame_read(bytes, FRAME_HEADER + 8, &frame) == (int)(FRAME_HEADER + 8));
  CHECK(frame.type == FRAME_SIGNAL && frame.id == 7 && frame.size == 8 && !memcmp(frame.payload, "payload", 8));
  CHECK(frame_write(bytes, FRAME_STDIN, 1, payload, FRAME_PAYLOAD_MAX) == sizeof bytes);
  CHECK(frame_read(bytes, sizeof bytes, &frame) == (int)sizeof bytes);

  uint32_t sizes[] = {FRAME_PAYLOAD_MAX + 1, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff};
  for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    memcpy(bytes, &sizes[i], 4);
    CHECK(frame_read(bytes, sizeof bytes, &frame) == -1);
  }
}
