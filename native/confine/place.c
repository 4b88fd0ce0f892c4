#include "confine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../include/open_how.h"

static int root = -1;
static uint64_t root_resolve;

void place_begin(int fd, uint64_t resolve) {
  root = fd;
  root_resolve = resolve;
}

int place_normalise(const char *what, const char *raw, char path[PATH_MAX]) {
  size_t length = 0;
  if (*raw == '/') return fail(KIND_INVALID, "%s '%.200s': the name is absolute", what, raw);
  for (const char *part = raw; *part;) {
    size_t size = strcspn(part, "/");
    if (size == 2 && memcmp(part, "..", 2) == 0)
      return fail(KIND_INVALID, "%s '%.200s': the name leads outside by '..'", what, raw);
    if (size > 255) return fail(KIND_INVALID, "%s '%.200s': a part of the name is longer than 255 bytes", what, raw);
    if (size > 0 && !(size == 1 && *part == '.')) {
      if (length + size + 2 > PATH_MAX)
        return fail(KIND_INVALID, "%s '%.200s': the name is longer than %d bytes", what, raw, PATH_MAX);
      if (length > 0) path[length++] = '/';
      memcpy(path + length, part, size);
      length += size;
    }
    part += size;
    part += strspn(part, "/");
  }
  path[length] = 0;
  return 0;
}

static int open_below(const char *path, uint64_t flags) {
  struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = root_resolve};
  return open_how(root, *path ? path : ".", how);
}

/* Splits off the last part. `directory` is empty for the root. */
static const char *split(const char *path, char directory[PATH_MAX]) {
  const char *slash = strrchr(path, '/');
  size_t length = slash ? (size_t)(slash - path) : 0;
  memcpy(directory, path, length);
  directory[length] = 0;
  return slash ? slash + 1 : path;
}

int place_parent(const char *path, const char **base) {
  char directory[PATH_MAX];
  *base = split(path, directory);
  return open_below(directory, O_PATH | O_DIRECTORY);
}

int place_open_directory(const char *path) { return open_below(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW); }

static int refuse_parent(const char *path, const char *directory) {
  switch (errno) {
    case EXDEV:
      return fail(KIND_INVALID, "'%.200s': '%.200s' passes through a symbolic link that leads outside the archive",
                  path, directory);
    case ELOOP:
      return fail(KIND_INVALID, "'%.200s': '%.200s' passes through too many symbolic links", path, directory);
    case EEXIST:
    case ENOTDIR:
      return fail(KIND_INVALID, "'%.200s': '%.200s' is not a directory", path, directory);
    default:
      return fail_errno("'%.200s': directory '%.200s'", path, directory);
  }
}

/* Makes every directory of `directory` that is missing. A descriptor of the last, or -1 after fail(). */
static int make_directories(const char *path, char *directory) {
  int parent = open_below("", O_PATH | O_DIRECTORY);
  for (char *part = directory; parent >= 0; part++) {
    char *end = part + strcspn(part, "/");
    bool last = *end == 0;
    *end = 0;
    int next = open_below(directory, O_PATH | O_DIRECTORY);
    if (next < 0 && errno == ENOENT && mkdirat(parent, part, 0755) == 0)
      next = open_below(directory, O_PATH | O_DIRECTORY);
    if (next < 0) refuse_parent(path, directory);
    close(parent);
    parent = next;
    if (last) return parent;
    *end = '/';
    part = end;
  }
  return parent;
}

int place_enter(const char *path, const char **base) {
  char directory[PATH_MAX];
  *base = split(path, directory);
  int fd = open_below(directory, O_PATH | O_DIRECTORY);
  if (fd < 0 && errno == ENOENT) fd = make_directories(path, directory);
  else if (fd < 0) return refuse_parent(path, directory);
  if (fd < 0) return -1;
  int result = fchdir(fd);
  if (result < 0) fail_errno("entering '%.200s'", directory);
  close(fd);
  return result;
}

/* Depth is bounded by PATH_MAX, since everything was made by a path. */
static int remove_in(int at, const char *name) {
  if (unlinkat(at, name, 0) == 0) return 0;
  if (errno != EISDIR && errno != EPERM) return -1;
  int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return -1;
  DIR *directory = fdopendir(fd);
  if (!directory) {
    close(fd);
    return -1;
  }
  int result = 0;
  for (struct dirent *entry; result == 0 && (entry = readdir(directory));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    result = remove_in(fd, entry->d_name);
  }
  closedir(directory);
  return result < 0 ? -1 : unlinkat(at, name, AT_REMOVEDIR);
}

int place_remove(const char *base) { return remove_in(AT_FDCWD, base); }
