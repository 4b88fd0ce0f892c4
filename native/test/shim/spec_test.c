#include <stdlib.h>

#include "../../include/spec.h"
#include "check.h"

/* A spec under construction, in memory of exactly its size, so that a step too far is caught. */
struct builder {
  uint8_t bytes[8192];
  uint32_t size, count;
};

static void put(struct builder *b, const void *data, uint32_t size) {
  memcpy(b->bytes + b->size, data, size);
  b->size += size;
}

static void record(struct builder *b, uint16_t type, uint16_t numbers, uint32_t strings, const char *text,
                   uint32_t text_size) {
  uint32_t size = (16 + 8u * numbers + text_size + 7) & ~7u, blob = 0;
  uint8_t zeros[8192] = {0};
  put(b, &type, 2);
  put(b, &numbers, 2);
  put(b, &strings, 4);
  put(b, &blob, 4);
  put(b, &size, 4);
  put(b, zeros, 8u * numbers);
  put(b, text, text_size);
  put(b, zeros, size - 16 - 8u * numbers - text_size);
  b->count++;
}

static void begin(struct builder *b) {
  memset(b, 0, sizeof *b);
  b->size = 16;
}

static void finish(struct builder *b) {
  uint32_t header[4] = {SPEC_MAGIC, SPEC_VERSION, b->size, b->count};
  memcpy(b->bytes, header, sizeof header);
}

static int opens(const uint8_t *bytes, size_t size) {
  struct spec spec;
  const char *reason = "";
  void *copy = malloc(size ? size : 1);
  memcpy(copy, bytes, size);
  int result = spec_open(&spec, copy, size, &reason);
  if (result == 0) { /* whatever is accepted can be read to its end */
    struct spec_record r;
    uint32_t offset = 0;
    while (spec_next(&spec, &offset, &r)) {
      for (uint32_t i = 0; i < r.number_count; i++) (void)spec_number(&r, i);
      for (uint32_t i = 0; i < r.string_count; i++) CHECK(strlen(spec_string(&r, i)) < size);
      for (uint32_t i = 0; i < r.blob_size; i++) CHECK(r.blob[i] <= 255);
    }
  }
  free(copy);
  return result == 0;
}

static void whole(struct builder *b) {
  begin(b);
  record(b, SPEC_ID, 0, 1, "abc", 4);
  record(b, SPEC_DIRS, 0, 2, "/data\0/run", 11);
  record(b, SPEC_BOOT, 0, 1, "boot", 5);
  record(b, SPEC_LOG, 2, 0, "", 0);
  record(b, SPEC_NAMESPACES, 1, 0, "", 0);
  record(b, SPEC_ROOT, 1, 3, "/layers\0a\0b", 12);
  record(b, SPEC_CAPABILITIES, 2, 0, "", 0);
  record(b, SPEC_USER, 0, 1, "", 1);
  record(b, SPEC_CWD, 0, 1, "/", 2);
  record(b, SPEC_FLAGS, 1, 0, "", 0);
  record(b, SPEC_ENV, 0, 0, "", 0);
  record(b, SPEC_ARGS, 0, 2, "sh\0-c", 6);
  finish(b);
}

static void test_reading(void) {
  struct builder b;
  struct spec spec;
  struct spec_record r;
  const char *reason = "";
  whole(&b);
  CHECK(spec_open(&spec, b.bytes, b.size, &reason) == 0);
  CHECK(spec_find(&spec, SPEC_ARGS, &r) && r.string_count == 2);
  CHECK(!strcmp(spec_string(&r, 0), "sh") && !strcmp(spec_string(&r, 1), "-c"));
  CHECK(!spec_find(&spec, SPEC_HOSTNAME, &r));
}

static void test_refusing(void) {
  struct builder b;
  whole(&b);
  for (size_t size = 0; size < b.size; size++) CHECK(!opens(b.bytes, size)); /* cut short anywhere */

  whole(&b);
  record(&b, SPEC_ID, 0, 1, "x", 2);
  finish(&b);
  CHECK(!opens(b.bytes, b.size)); /* twice what must be once */

  begin(&b);
  record(&b, SPEC_ID, 0, 1, "abc", 4);
  finish(&b);
  CHECK(!opens(b.bytes, b.size)); /* without what must be there */

  whole(&b);
  record(&b, SPEC_TYPE_END, 0, 0, "", 0);
  finish(&b);
  CHECK(!opens(b.bytes, b.size)); /* of unknown type */

  whole(&b);
  record(&b, SPEC_MASK, 0, 1, "12345678", 8);
  finish(&b);
  CHECK(!opens(b.bytes, b.size)); /* a string without its end */

  whole(&b);
  record(&b, SPEC_MASK, 0, 1, "/x\0hidden-more", 15);
  finish(&b);
  CHECK(!opens(b.bytes, b.size)); /* bytes that nobody reads */
}

/* CVE-2021-43784: counts and sizes that overflow. Every 32-bit field in turn gets the values that hurt. */
static void test_overflow(void) {
  static const uint32_t values[] = {0, 1, 7, 8, 0x7fffffff, 0x80000000, 0xfffffff0, 0xfffffff8, 0xffffffff};
  struct builder b;
  whole(&b);
  uint32_t size = b.size;
  for (uint32_t at = 0; at + 4 <= size; at += 4) {
    for (unsigned i = 0; i < sizeof values / sizeof *values; i++) {
      whole(&b);
      memcpy(b.bytes + at, &values[i], 4);
      (void)opens(b.bytes, b.size);
    }
  }
}

/* A fixed seed, so that a failure can be seen again. */
static void test_noise(void) {
  uint32_t seed = 1;
  struct builder b;
  for (int round = 0; round < 20000; round++) {
    whole(&b);
    for (int i = 0; i < 4; i++) {
      seed = seed * 1664525 + 1013904223;
      b.bytes[16 + (seed >> 8) % (b.size - 16)] = (uint8_t)(seed >> 24);
    }
    (void)opens(b.bytes, b.size);
  }
}

static int opens_exec(const struct builder *b) {
  struct spec spec;
  const char *reason = "";
  return spec_open_exec(&spec, b->bytes, b->size, &reason) == 0;
}

static void exec(struct builder *b) {
  begin(b);
  record(b, SPEC_ID, 0, 1, "abc", 4);
  record(b, SPEC_FLAGS, 1, 0, "", 0);
  record(b, SPEC_ENV, 0, 1, "A=1", 4);
  record(b, SPEC_ARGS, 0, 1, "sh", 3);
  finish(b);
}

/* An exec's spec has what an exec may have, and nothing that makes a container. */
static void test_exec(void) {
  struct builder b;
  exec(&b);
  CHECK(opens_exec(&b) && !opens(b.bytes, b.size));
  record(&b, SPEC_USER, 0, 1, "app", 4);
  record(&b, SPEC_CWD, 0, 1, "/", 2);
  record(&b, SPEC_CAPABILITIES, 2, 0, "", 0);
  finish(&b);
  CHECK(opens_exec(&b));
  record(&b, SPEC_USER, 0, 1, "root", 5);
  finish(&b);
  CHECK(!opens_exec(&b)); /* twice */
  exec(&b);
  record(&b, SPEC_NAMESPACES, 1, 0, "", 0);
  finish(&b);
  CHECK(!opens_exec(&b));
  exec(&b);
  record(&b, SPEC_SHIM_GROUP, 0, 1, "/x", 3);
  finish(&b);
  CHECK(!opens_exec(&b));
  whole(&b);
  CHECK(!opens_exec(&b));
}

void test_spec(void) {
  test_reading();
  test_refusing();
  test_overflow();
  test_noise();
  test_exec();
}
