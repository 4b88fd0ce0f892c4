/* Archives from strangers, for what reads them under AddressSanitizer and UBSan. */
#ifndef TESSERA_TEST_FOREIGN_H
#define TESSERA_TEST_FOREIGN_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) {                                                         \
      fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      exit(2);                                                                  \
    }                                                                           \
  } while (0)

enum { ARCHIVE_MAX = 64 * 1024 };

struct archive_bytes {
  unsigned char bytes[ARCHIVE_MAX];
  size_t length;
};

/* The same numbers in every run. */
uint32_t chance(uint32_t below);
/* An entry of this type, which `length` bytes of content follow. */
void add_entry(struct archive_bytes *a, char type, const char *name, const char *target, const char *content, size_t length);
/* Something of every kind, those of a layer too. */
void build_archive(struct archive_bytes *a);
enum { PLAIN, GZIP, ZSTD, FORMATS };
void wrap_archive(struct archive_bytes *a, int format);
/* Cut short, changed, or whole. Half the damaged headers of a plain one are made to look right. */
void damage_archive(struct archive_bytes *a, int format);
/* A descriptor to read it from. */
int open_archive(const struct archive_bytes *a);
/* Deletes what is in a directory. */
void empty_directory(const char *root);

#endif
