/*
 * ts-unpack: unpacks one foreign archive into an empty directory, and can do nothing else.
 *
 * Everything that reads foreign bytes runs in the confined child: its root is the target directory, it has
 * no network and sees no other process, and its capabilities are those that file metadata needs. The parent,
 * the monitor, does for it the one thing that needs CAP_SYS_ADMIN: trusted.overlay.opaque on a directory
 * whose descriptor the child hands over.
 */
#ifndef TESSERA_UNPACK_H
#define TESSERA_UNPACK_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

enum unpack_mode {
  /* A layer of an image: whiteouts become overlayfs's, metadata is kept. */
  UNPACK_LAYER,
  /* The archive that images come in: files, directories and links alone, all of them ours. */
  UNPACK_ARCHIVE,
};

struct unpack_options {
  enum unpack_mode mode;
  const char *root;
  /* Uncompressed bytes, and the sum of what files claim to hold. */
  uint64_t bytes_max;
  uint64_t entries_max;
  /* Uncompressed by compressed bytes, looked at beyond ratio_floor uncompressed bytes. */
  uint64_t ratio_max;
  uint64_t ratio_floor;
  /* Address space. */
  uint64_t memory_max;
  int parent;
};

/* ---- report.c: what failed, and the one line on stdout ---- */

/* Error kinds of shared/errors. */
#define KIND_INVALID "invalidArgument"
#define KIND_EXHAUSTED "resourceExhausted"
#define KIND_INTERNAL "internal"

/* Keeps the first failure. Returns -1. */
int fail(const char *kind, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* fail() with errno's text appended, and the kind that errno means. Returns -1. */
int fail_errno(const char *format, ...) __attribute__((format(printf, 1, 2)));
int failed(void);
void report_failure(int fd);
void report_success(int fd, const char *diff_id, uint64_t bytes, uint64_t tar_bytes, uint64_t entries);

/* ---- confine.c ---- */

/* New namespaces, and `root` as the root of the mount namespace. Before the fork. */
int confine_namespaces(const char *root);
/* Limits, capabilities, no_new_privs, seccomp. In the child; nothing foreign has been read yet. */
int confine_process(const struct unpack_options *options);

/* ---- opaque.c: the one privileged operation ---- */

/* The child's end: asks the monitor to make the directory `fd` opaque. */
int opaque_request(int socket, int fd);
/* The monitor's end: answers requests until the child closes its end. */
void opaque_serve(int socket);

/* ---- input.c: stdin, decompressed, hashed, counted ---- */

int input_open(const struct unpack_options *options);
/* The next piece of the uncompressed archive. Its length, 0 at the end, -1 after fail(). */
long input_next(const void **piece);
/* Reads what follows the archive's end: it belongs to the digest. */
int input_drain(void);
uint64_t input_bytes(void);
/* "sha256:" and 64 digits. */
void input_digest(char digest[72]);

/* ---- place.c: names and where they lead ---- */

/* Opens the root that all names are resolved beneath. */
int place_open(void);
/*
 * `raw` without "." components and repeated slashes; empty for the root itself. Refuses names that are
 * absolute or have "..". `what` begins the message.
 */
int place_normalise(const char *what, const char *raw, char path[PATH_MAX]);
/* Makes the directory of `path` the working directory, making what is missing; `base` is its last part. */
int place_enter(const char *path, const char **base);
/* A descriptor (O_PATH) of the directory of `path`, which must exist. -1 with errno set. */
int place_parent(const char *path, const char **base);
/* Opens the directory `path` itself for reading, never through a last symlink. -1 with errno set. */
int place_open_directory(const char *path);
/* Removes `base` of the working directory, with all below it. */
int place_remove(const char *base);

/* ---- extract.c ---- */

int extract(const struct unpack_options *options, int monitor);
uint64_t extract_bytes(void);
uint64_t extract_entries(void);

#endif
