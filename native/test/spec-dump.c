/* Reads a spec on stdin and prints its records, one a line: type, numbers, strings as JSON-free text, blob size. */
#include <stdio.h>
#include <unistd.h>

#include "../include/spec.h"

int main(void) {
  static uint8_t bytes[SPEC_SIZE_MAX];
  size_t size = 0;
  for (ssize_t got; size < sizeof bytes && (got = read(0, bytes + size, sizeof bytes - size)) > 0;) size += (size_t)got;
  struct spec spec;
  struct spec_record record;
  const char *reason;
  uint32_t offset = 0;
  if (spec_open(&spec, bytes, size, &reason)) return printf("refused: %s\n", reason), 1;
  while (spec_next(&spec, &offset, &record)) {
    printf("%u", record.type);
    for (uint32_t i = 0; i < record.number_count; i++) printf("\t%llu", (unsigned long long)spec_number(&record, i));
    for (uint32_t i = 0; i < record.string_count; i++) printf("\t%s", spec_string(&record, i));
    printf("\t%u\n", record.blob_size);
  }
  return 0;
}
