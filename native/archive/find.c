/*
 * Paths are resolved by the kernel below the root, which is ours (pivot_root): links that are absolute or climb lead to
 * places in it, and magic ones, of a proc that the user has mounted, are not followed.
 */
#include "archive.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../include/open_how.h"

/* As the kernel's own bound, and Docker's. */
#define LINKS_MAX 255

static int root = -1;

int find_begin(void) {
  root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  return root < 0 ? fail_errno("opening the root") : 0;
}

static int open_below(int directory, const char *path, uint64_t flags, uint64_t resolve) {
  struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = resolve | RESOLVE_NO_MAGICLINKS};
  return open_how(directory, path, how);
}

int find_open(const char *path, bool follow) {
  uint64_t flags = follow ? O_PATH | O_DIRECTORY : O_PATH | O_NOFOLLOW;
  return open_below(root, path, flags, RESOLVE_IN_ROOT);
}

int find_content(int directory, const char *name, mode_t type, struct stat *st) {
  uint64_t flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | (type == S_IFDIR ? O_DIRECTORY : 0);
  int fd = open_below(directory, name, flags, RESOLVE_NO_SYMLINKS);
  if (fd < 0) return -1;
  // Whatever it was when it was looked at: it may be something else by now.
  if (fstat(fd, st) == 0 && (st->st_mode & S_IFMT) == type) return fd;
  close(fd);
  errno = ENOENT;
  return -1;
}

/* Appends a part to an absolute path; ".." takes one away. */
static int step(char *path, const char *part, size_t length) {
  size_t used = strlen(path);
  if (length == 0 || (length == 1 && part[0] == '.')) return 0;
  if (length == 2 && part[0] == '.' && part[1] == '.') {
    char *slash = strrchr(path, '/');
    if (slash) *slash = 0;
    return 0;
  }
  if (used + length + 2 > PATH_MAX) return -1;
  path[used] = '/';
  memcpy(path + used + 1, part, length);
  path[used + 1 + length] = 0;
  return 0;
}

int find_target(const char *path, char target[PATH_MAX]) {
  char rest[2 * PATH_MAX], link[PATH_MAX];
  int links = 0;
  *target = 0;
  if (strlen(path) >= PATH_MAX) return fail(KIND_INVALID, "the path is too long");
  strcpy(rest, path);
  for (char *part = rest; *part;) {
    part += strspn(part, "/");
    size_t length = strcspn(part, "/");
    size_t before = strlen(target);
    if (step(target, part, length)) return fail(KIND_INVALID, "'%.200s': the link leads too deep", path);
    part += length;
    int fd = length > 0 ? open_below(root, *target ? target : "/", O_PATH | O_NOFOLLOW, RESOLVE_IN_ROOT) : -1;
    struct stat st;
    ssize_t size = -1;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISLNK(st.st_mode)) size = readlinkat(fd, "", link, sizeof link - 1);
    if (fd >= 0) close(fd);
    if (size < 0) continue;
    if (++links > LINKS_MAX) return fail(KIND_INVALID, "'%.200s': too many links", path);
    link[size] = 0;
    target[link[0] == '/' ? 0 : before] = 0;
    // What the link says comes before what was still to come.
    size_t left = strlen(part);
    if ((size_t)size + left + 2 > sizeof rest) return fail(KIND_INVALID, "'%.200s': the link leads too deep", path);
    memmove(rest + size, part, left + 1);
    memcpy(rest, link, (size_t)size);
    part = rest;
  }
  if (*target == 0) strcpy(target, "/");
  return 0;
}
