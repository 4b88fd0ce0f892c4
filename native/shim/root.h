/* A container's file tree: everything below its root is reached from one descriptor, never by a host path. */
#ifndef TESSERA_SHIM_ROOT_H
#define TESSERA_SHIM_ROOT_H

#include <stdint.h>

/* Resolution inside the root: `..` and absolute links stay inside; our own targets allow no link at all. */
int root_open(int root, const char *path, uint64_t flags, int system);
/* The path as a mount point, made if it is missing. */
int root_target(int root, const char *path, int is_file, int system);
/* The directory that holds `path`, made if missing; `*name` is the last part. */
int root_parent(int root, const char *path, const char **name, int system);

#endif
