/*
 * ts-unpack: unpacks one foreign archive into an empty directory, and can do nothing else.
 */
#ifndef TESSERA_UNPACK_H
#define TESSERA_UNPACK_H

#include "../confine/confine.h"

enum unpack_mode {
  /* A layer of an image: whiteouts become overlayfs's, metadata is kept. */
  UNPACK_LAYER,
  /* The archive that images come in: files, directories and links alone, all of them ours. */
  UNPACK_ARCHIVE,
};

struct unpack_options {
  enum unpack_mode mode;
  const char *root;
  /* bytes_max bounds the sum of what files claim to hold, too. */
  struct input_bounds input;
  uint64_t entries_max;
  /* Address space. */
  uint64_t memory_max;
  int parent;
};

/* ---- extract.c ---- */

int extract(const struct unpack_options *options, int monitor);
uint64_t extract_bytes(void);
uint64_t extract_entries(void);

#endif
