/* The spec reader: checks a record list once, then reads it in place. Everything here meets foreign bytes. */
#include "../include/spec.h"

#include <string.h>

#define HEADER 16u
#define RECORD 16u

struct rule {
  const char *name;
  uint32_t numbers, strings;
  enum spec_occurs occurs;
};

#define ONE SPEC_ONE
#define MAYBE SPEC_MAYBE
#define MANY SPEC_MANY
static const struct rule RULES[SPEC_TYPE_END] = {
#define X(name, type, numbers, strings, occurs) [type] = {#name, numbers, strings, occurs},
    SPEC_RECORDS(X)
#undef X
};

/* Of an exec; a type that is not here may not occur. */
#define EXEC_NEVER 0
static const uint8_t EXEC_OCCURS[SPEC_TYPE_END] = {
#define X(name, occurs) [SPEC_##name] = 1 + occurs,
    SPEC_EXEC_RECORDS(X)
#undef X
};

static uint32_t u32_at(const uint8_t *at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

static uint16_t u16_at(const uint8_t *at) {
  uint16_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

static int refuse(const char **reason, const char *why) {
  *reason = why;
  return -1;
}

/* The record at `offset`, whose header and size have been found to lie inside. Returns its size. */
static uint32_t record_at(const struct spec *spec, uint32_t offset, struct spec_record *record) {
  const uint8_t *at = spec->data + offset;
  record->type = u16_at(at);
  record->number_count = u16_at(at + 2);
  record->string_count = u32_at(at + 4);
  record->blob_size = u32_at(at + 8);
  record->number = at + RECORD;
  record->blob = record->number + 8u * record->number_count;
  record->string = (const char *)record->blob + record->blob_size;
  return u32_at(at + 12);
}

static int check_record(const struct spec_record *record, const uint8_t *end, const char **reason) {
  if (record->type == 0 || record->type >= SPEC_TYPE_END) return refuse(reason, "a record of unknown type");
  const struct rule *rule = &RULES[record->type];
  if (record->number_count != rule->numbers) return refuse(reason, "a record with the wrong count of numbers");
  if (rule->strings != SPEC_ANY && record->string_count != rule->strings)
    return refuse(reason, "a record with the wrong count of strings");
  if (record->string_count > SPEC_STRINGS_MAX) return refuse(reason, "too many strings in a record");
  const char *at = record->string;
  for (uint32_t i = 0; i < record->string_count; i++) {
    const char *nul = memchr(at, 0, (const char *)end - at);
    if (!nul) return refuse(reason, "a string without its end");
    at = nul + 1;
  }
  if ((const char *)end - at >= 8) return refuse(reason, "bytes left over in a record");
  return 0;
}

static int check_counts(const uint32_t *seen, const char **reason) {
  for (uint32_t type = 1; type < SPEC_TYPE_END; type++) {
    if (RULES[type].occurs == SPEC_ONE && seen[type] != 1) return refuse(reason, RULES[type].name);
    if (RULES[type].occurs == SPEC_MAYBE && seen[type] > 1) return refuse(reason, RULES[type].name);
  }
  return 0;
}

static int check_exec_counts(const uint32_t *seen, const char **reason) {
  for (uint32_t type = 1; type < SPEC_TYPE_END; type++) {
    uint32_t most = EXEC_OCCURS[type] == EXEC_NEVER ? 0 : 1, least = EXEC_OCCURS[type] == 1 + SPEC_ONE;
    if (seen[type] < least || seen[type] > most) return refuse(reason, RULES[type].name ? RULES[type].name : "?");
  }
  return 0;
}

/* Checks all but how often each type occurs, which it counts. */
static int open_records(struct spec *spec, const void *data, size_t size, uint32_t *seen, const char **reason) {
  const uint8_t *bytes = data;
  if (size < HEADER || size > SPEC_SIZE_MAX || size % 8) return refuse(reason, "its size");
  if (u32_at(bytes) != SPEC_MAGIC) return refuse(reason, "its magic number");
  if (u32_at(bytes + 4) != SPEC_VERSION) return refuse(reason, "its version");
  if (u32_at(bytes + 8) != size) return refuse(reason, "its length");
  uint32_t count = u32_at(bytes + 12);
  if (count > SPEC_RECORDS_MAX) return refuse(reason, "its count of records");
  spec->data = bytes;
  spec->size = (uint32_t)size;

  uint32_t offset = HEADER;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t left = spec->size - offset;
    if (left < RECORD) return refuse(reason, "a record cut short");
    uint32_t length = u32_at(bytes + offset + 12);
    if (length < RECORD || length % 8 || length > left) return refuse(reason, "the length of a record");
    /* In 64 bits, and before any pointer is made: counts are foreign and may be anything. */
    uint64_t fixed = RECORD + 8ull * u16_at(bytes + offset + 2) + u32_at(bytes + offset + 8);
    if (fixed > length) return refuse(reason, "a record shorter than its parts");
    struct spec_record record;
    record_at(spec, offset, &record);
    if (check_record(&record, bytes + offset + length, reason)) return -1;
    seen[record.type]++;
    offset += length;
  }
  return offset == spec->size ? 0 : refuse(reason, "bytes after the last record");
}

int spec_open(struct spec *spec, const void *data, size_t size, const char **reason) {
  uint32_t seen[SPEC_TYPE_END] = {0};
  return open_records(spec, data, size, seen, reason) || check_counts(seen, reason) ? -1 : 0;
}

int spec_open_exec(struct spec *spec, const void *data, size_t size, const char **reason) {
  uint32_t seen[SPEC_TYPE_END] = {0};
  return open_records(spec, data, size, seen, reason) || check_exec_counts(seen, reason) ? -1 : 0;
}

int spec_next(const struct spec *spec, uint32_t *offset, struct spec_record *record) {
  if (*offset == 0) *offset = HEADER;
  if (*offset >= spec->size) return 0;
  *offset += record_at(spec, *offset, record);
  return 1;
}

int spec_find(const struct spec *spec, enum spec_type type, struct spec_record *record) {
  uint32_t offset = 0;
  while (spec_next(spec, &offset, record))
    if (record->type == type) return 1;
  return 0;
}

uint64_t spec_number(const struct spec_record *record, uint32_t index) {
  uint64_t value;
  memcpy(&value, record->number + 8u * index, sizeof value);
  return value;
}

const char *spec_string_after(const char *string) { return string + strlen(string) + 1; }

const char *spec_string(const struct spec_record *record, uint32_t index) {
  const char *string = record->string;
  while (index--) string = spec_string_after(string);
  return string;
}

int spec_is_users(const struct spec_record *record) {
  if (record->type != SPEC_MOUNT && record->type != SPEC_BIND) return 0;
  return !(spec_number(record, 1) & (SPEC_MOUNT_SYSTEM | SPEC_MOUNT_RELATIVE | SPEC_MOUNT_GROUP | SPEC_MOUNT_BASE));
}

int spec_is_own_file(const struct spec_record *record) {
  return record->type == SPEC_BIND && spec_number(record, 1) & (SPEC_MOUNT_RELATIVE | SPEC_MOUNT_BASE);
}
