/*
 * What a container has written: its own layer of the overlay, beside what its image has.
 *
 * Overlayfs notes a file that is gone as a character device 0:0, and a directory that hides the one below it by an
 * attribute that only the monitor may read. What a start makes for its own mounts to lie on is no change.
 */
#include "archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../include/open_how.h"

static struct {
  const struct spec *spec;
  int monitor;
  /* The image's directory of the same path as the one walked through; -1: it has none. */
  int image;
} w;

static bool is_whiteout(const struct stat *st) { return S_ISCHR(st->st_mode) && st->st_rdev == 0; }

/* ---- what a start has made */

/* Whether `path` is where a mount of every container lies (0), or leads there (1); -1: neither. */
static int mount_point(const char *path) {
  uint32_t offset = 0;
  struct spec_record record;
  size_t length = strlen(path);
  int result = -1;
  while (spec_next(w.spec, &offset, &record)) {
    if ((record.type != SPEC_MOUNT && record.type != SPEC_BIND) || spec_is_users(&record)) continue;
    const char *target = record.string + strspn(record.string, "/");
    if (strcmp(target, path) == 0) return 0;
    if (strncmp(target, path, length) == 0 && target[length] == '/') result = 1;
  }
  return result;
}

static int open_image(int directory, const char *name, uint64_t flags) {
  struct open_how how = {.flags = flags | O_PATH | O_NOFOLLOW | O_CLOEXEC,
                         .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
  return directory < 0 ? -1 : open_how(directory, name, how);
}

static bool in_image(int directory, const char *name, struct stat *st) {
  int fd = open_image(directory, name, 0);
  bool found = fd >= 0 && fstat(fd, st) == 0 && !is_whiteout(st);
  if (fd >= 0) close(fd);
  return found;
}

static bool same_directory(const struct stat *a, const struct stat *b) {
  return S_ISDIR(a->st_mode) && S_ISDIR(b->st_mode) && a->st_mode == b->st_mode && a->st_uid == b->st_uid &&
         a->st_gid == b->st_gid;
}

static bool shows;
static int look(int directory, const char *name, const char *path);

/* Whether anything but places for mounts is in a directory. */
static bool holds_more(int directory, const char *name, const char *path) {
  struct stat st;
  int fd = find_content(directory, name, S_IFDIR, &st);
  if (fd < 0) return false;
  bool before = shows;
  shows = false;
  walk(fd, path, look);
  bool found = shows;
  shows = before;
  return found;
}

/* An empty file or directory that a mount lies on, or a directory with nothing but such ones. */
static bool is_made_by_start(int directory, const char *name, const char *path, const struct stat *st, int image) {
  int role = mount_point(path);
  struct stat below;
  if (role < 0) return false;
  if (S_ISREG(st->st_mode)) return role == 0 && st->st_size == 0 && !in_image(image, name, &below);
  if (!S_ISDIR(st->st_mode) || holds_more(directory, name, path)) return false;
  return !in_image(image, name, &below) || same_directory(st, &below);
}

static int look(int directory, const char *name, const char *path) {
  struct stat st;
  if (shows || fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return 0;
  // Without the image: a mount's place that the image has, too, has not been copied up.
  if (!is_made_by_start(directory, name, path, &st, -1)) shows = true;
  return 0;
}

/* ---- the list */

static int tell(char kind, const char *path) {
  size_t length = strlen(path) + 3;
  char *record = malloc(length);
  if (!record) return fail(KIND_EXHAUSTED, "no memory for a path");
  record[0] = kind;
  record[1] = '/';
  strcpy(record + 2, path);
  report_line(DATA, record, length);
  free(record);
  return 0;
}

/* Goes on in a directory, with the image's beside it. */
static int descend(int directory, const char *name, const char *path, bool hides, walk_visit *visit) {
  struct stat st;
  int fd = find_content(directory, name, S_IFDIR, &st), above = w.image;
  if (fd < 0) return 0;
  w.image = hides ? -1 : open_image(above, name, O_DIRECTORY);
  int result = walk(fd, path, visit);
  if (w.image >= 0) close(w.image);
  w.image = above;
  return result;
}

/* What overlayfs has noted of it: 1, 0, or -1 after fail(). */
static int is_opaque(int directory, const char *name) {
  struct stat st;
  int fd = find_content(directory, name, S_IFDIR, &st);
  if (fd < 0) return 0;
  int result = opaque_query(w.monitor, fd);
  close(fd);
  return result;
}

static int count;

static int visit_change(int directory, const char *name, const char *path) {
  struct stat st, below;
  if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return 0;
  if (is_made_by_start(directory, name, path, &st, w.image)) return 0;
  if (is_whiteout(&st)) {
    count++;
    return tell('D', path);
  }
  bool was = in_image(w.image, name, &below);
  if (!S_ISDIR(st.st_mode)) {
    count++;
    return tell(was ? 'C' : 'A', path);
  }
  int hides = is_opaque(directory, name), before = count;
  if (hides < 0 || descend(directory, name, path, hides, visit_change) < 0) return -1;
  // One that is there because something in it has changed; or has changed itself.
  bool changed = !was || hides || count > before || !same_directory(&st, &below);
  if (!changed) return 0;
  count++;
  return tell(was ? 'C' : 'A', path);
}

static int walk_written(const struct spec *spec, int image, int monitor, walk_visit *visit) {
  w.spec = spec;
  w.image = image;
  w.monitor = monitor;
  int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return root < 0 ? fail_errno("opening the container's own layer") : walk(root, "", visit);
}

int list_changes(const struct spec *spec, int image, int monitor) {
  if (walk_written(spec, image, monitor, visit_change) < 0) return -1;
  report_line(REPORT, "{\"ok\":true}\n", 12);
  return 0;
}

/* ---- the layer. Source: OCI image specification, layer.md, "Whiteouts" */

static int add_whiteout(const char *path, const char *name, const struct stat *like) {
  char *mark = malloc(strlen(path) + 5);
  if (!mark) return fail(KIND_EXHAUSTED, "no memory for a path");
  size_t directory = strlen(path) - strlen(name);
  memcpy(mark, path, directory);
  strcpy(stpcpy(mark + directory, ".wh."), name);
  int result = output_add_mark(mark, like);
  free(mark);
  return result;
}

static int add_opaque(const char *path, const struct stat *like) {
  char *mark = malloc(strlen(path) + 16);
  if (!mark) return fail(KIND_EXHAUSTED, "no memory for a path");
  strcpy(stpcpy(mark, path), "/.wh..wh..opq");
  int result = output_add_mark(mark, like);
  free(mark);
  return result;
}

static int visit_layer(int directory, const char *name, const char *path) {
  struct stat st;
  int below;
  if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return 0;
  if (has_prefix(name, ".wh."))
    return fail(KIND_INVALID, "'/%.200s': in a layer, names that begin with .wh. say that something is gone: rename it",
                path);
  if (is_made_by_start(directory, name, path, &st, w.image)) return 0;
  if (is_whiteout(&st)) return add_whiteout(path, name, &st);
  int hides = S_ISDIR(st.st_mode) ? is_opaque(directory, name) : 0;
  if (hides < 0 || output_add(directory, name, path, &below) < 0) return -1;
  if (below < 0) return 0;
  close(below);
  if (hides && add_opaque(path, &st) < 0) return -1;
  return descend(directory, name, path, hides, visit_layer);
}

int make_layer(const struct spec *spec, int image, int monitor) {
  char digest[72], line[256];
  if (output_begin(true) < 0 || walk_written(spec, image, monitor, visit_layer) < 0 || output_end() < 0) return -1;
  output_digest(digest);
  int length = snprintf(line, sizeof line,
                        "{\"ok\":true,\"diffId\":\"%s\",\"bytes\":%llu,\"tarBytes\":%llu,\"entries\":%llu}\n", digest,
                        (unsigned long long)output_bytes(), (unsigned long long)output_tar_bytes(),
                        (unsigned long long)output_entries());
  report_line(REPORT, line, (size_t)length);
  return 0;
}
