/*
 * What programs share that work on foreign files: ts-unpack and ts-archive.
 *
 * Each is two processes. The confined one reads foreign bytes and names: its root is a directory of others, it has no
 * network and sees no other process, and its capabilities are those that file metadata needs. Its parent, the monitor,
 * does for it what needs CAP_SYS_ADMIN: attributes of overlayfs, on directories whose descriptors it is handed.
 * Neither executes or loads anything from that root.
 */
#ifndef TESSERA_CONFINE_H
#define TESSERA_CONFINE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* ---- report.c: what failed, and the lines that tell the agent */

/* Error kinds of shared/errors. */
#define KIND_INVALID "invalidArgument"
#define KIND_EXHAUSTED "resourceExhausted"
#define KIND_INTERNAL "internal"
#define KIND_NOT_FOUND "notFound"

/* Keeps the first failure. Returns -1. */
int fail(const char *kind, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* fail() with errno's text appended, and the kind that errno means. Returns -1. */
int fail_errno(const char *format, ...) __attribute__((format(printf, 1, 2)));
int failed(void);
void report_failure(int fd);
/* Writes all of a line, or as much as somebody reads. */
void report_line(int fd, const char *line, size_t length);
/* What JSON or a terminal would take for its own, escaped: at most six bytes for each. The bytes written. */
size_t report_escape(char *to, const char *text);

/* ---- confine.c */

/* New namespaces of its own, whose mounts nobody else sees. */
int confine_namespaces(void);
/* The directory behind `fd`, where a mount begins, becomes the root; all else is out of reach. */
int confine_root(int fd);
/* `path` becomes the root, without devices, set-id and programs. */
int confine_to_directory(const char *path);

/* Leaves those that owners, modes and attributes of files need. */
int confine_capabilities(void);

struct confinement {
  /* Bytes of address space, and of one file; 0: no bound. */
  uint64_t memory_max, file_max;
};
/* Of descriptors, core dumps, memory and files. */
int confine_limits(const struct confinement *confinement);
/* Limits, capabilities, no_new_privs, seccomp. In the confined process; nothing foreign has been read yet. */
int confine_process(const struct confinement *confinement);

/* ---- monitor.c: the two processes */

enum { REPORT = 1 };

/* First of all: descriptors 0 to 2 taken, none from `first_free` on; signals and locale as a new process expects them. */
int helper_settle(unsigned first_free);
/* The number behind an option; fail() when it is none. */
uint64_t helper_number(const char *name, const char *text);
/* Ends with its parent, if that is (still) `parent`; 0: whoever it is. -1: it has gone already. */
int helper_follow(int parent);
/*
 * Does `work` in a confined process of its own, and serves its requests meanwhile. `work` reports its success itself;
 * what fails is reported here. Returns the exit code.
 */
int helper_run(const struct confinement *confinement, int (*work)(void *context, int monitor), void *context);

/* ---- opaque.c: what needs CAP_SYS_ADMIN */

/* The child's end: asks the monitor to make the directory `fd` opaque. */
int opaque_request(int socket, int fd);
/* What overlayfs has noted of a directory: 1: it hides what is below it; 0: it does not; -1 after fail(). */
int opaque_query(int socket, int fd);
/* The monitor's end: answers requests until the child closes its end. */
void opaque_serve(int socket);

/* ---- connection.c: a client's connection that has been lent */

enum { CONNECTION = 3 };

/* There is one. The body of its request comes in chunks; what of it had been read already is on stdin. */
void connection_begin(void);
/* It comes as it is, and is so long. */
void connection_body_bytes(uint64_t length);
bool connection_given(void);
/* Some of the request's body; 0 at its end, -1 after fail(), also when it is cut short. */
long connection_read(void *to, size_t room);
/* A chunk of the answer; the first one waits for a byte on stdin. */
int connection_write(const void *bytes, size_t length);

/* ---- input.c: stdin, or the request's body; decompressed, counted */

struct input_bounds {
  /* Uncompressed bytes. */
  uint64_t bytes_max;
  /* Uncompressed by compressed bytes, looked at beyond ratio_floor uncompressed bytes. */
  uint64_t ratio_max;
  uint64_t ratio_floor;
};

/* With `hashed`, the digest of all that is read can be had at the end. */
int input_open(const struct input_bounds *bounds, bool hashed);
/* The next piece of the uncompressed archive. Its length, 0 at the end, -1 after fail(). */
long input_next(const void **piece);
/* Reads what follows the archive's end: it belongs to the digest. */
int input_drain(void);
uint64_t input_bytes(void);
/* "sha256:" and 64 digits. */
void input_digest(char digest[72]);
struct archive;
/* libarchive's tar reader over it; 0 after fail(). */
struct archive *input_archive(void);
/* The next entry: 1, 0 at the end, -1 after fail(). */
struct archive_entry;
int input_entry(struct archive *archive, struct archive_entry **entry);
/* Writes the entry's content to `fd`, `size` bytes with its holes. `path` names it. */
int input_write(struct archive *archive, int64_t size, const char *path, int fd);
/* fail() with what libarchive found wrong. */
int input_refuse(struct archive *archive, const char *path);

/* ---- place.c: names and where they lead */

/* From now on names are resolved from the directory `fd`, in the way of `resolve` (RESOLVE_*). */
void place_begin(int fd, uint64_t resolve);
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

/* ---- metadata.c: owners, times and attributes as archives have them */

struct times {
  struct timespec at[2];
};

struct times times_of(struct archive_entry *entry);
/* Directories get their times at the end, when nothing is made in them any more. */
int times_remember(struct archive_entry *entry, const char *path);
void times_apply(void);
/* Owner of an entry, in range: past the highest id, ids would wrap to someone else's, root's included. */
int owner_of(struct archive_entry *entry, const char *path, uint32_t *uid, uint32_t *gid);
/* Attributes that a container's programs can see; those of the host's security modules, and trusted ones, are not. */
bool attribute_is_kept(const char *name);
bool has_prefix(const char *text, const char *prefix);

#endif
