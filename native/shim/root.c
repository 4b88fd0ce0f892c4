#include "root.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "sys.h"

#define PATH_LONGEST 4096u
#define LINKS_MAX 16

int root_open(int root, const char *path, uint64_t flags, int system) {
  while (*path == '/') path++;
  uint64_t resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | (system ? RESOLVE_NO_SYMLINKS : 0);
  return sys_openat2(root, *path ? path : ".", flags, resolve);
}

/* Opens the directory `path` of `length` bytes, making what is missing of it, from the front. */
static int make_directories(int root, char *path, size_t length, int system) {
  char saved = path[length];
  path[length] = 0;
  int fd = root_open(root, path, O_PATH | O_DIRECTORY, system);
  if (fd >= 0 || errno != ENOENT || length == 0) {
    path[length] = saved;
    return fd;
  }
  size_t slash = length;
  while (slash > 0 && path[slash - 1] != '/') slash--;
  size_t parent_length = slash;
  while (parent_length > 0 && path[parent_length - 1] == '/') parent_length--;
  int parent = make_directories(root, path, parent_length, system);
  if (parent >= 0) {
    if (mkdirat(parent, path + slash, 0755) == 0 || errno == EEXIST)
      fd = root_open(root, path, O_PATH | O_DIRECTORY, system);
    int error = errno;
    close(parent);
    errno = error;
  }
  path[length] = saved;
  return fd;
}

static int copy_path(char *copy, const char *path) {
  while (*path == '/') path++;
  size_t length = strlen(path);
  if (length >= PATH_LONGEST) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(copy, path, length + 1);
  while (length > 0 && copy[length - 1] == '/') copy[--length] = 0;
  return (int)length;
}

int root_parent(int root, const char *path, const char **name, int system) {
  char copy[PATH_LONGEST];
  int length = copy_path(copy, path);
  if (length <= 0) {
    if (length == 0) errno = EINVAL;
    return -1;
  }
  char *slash = strrchr(copy, '/');
  size_t parent_length = slash ? (size_t)(slash - copy) : 0;
  const char *last = strrchr(path, '/');
  *name = last ? last + 1 : path;
  return make_directories(root, copy, parent_length, system);
}

/* The path that the link `name` in the directory of `path` names, in place of `path`. 0, or -1. */
static int follow(int parent, const char *name, char *path) {
  char target[PATH_LONGEST];
  ssize_t length = readlinkat(parent, name, target, sizeof target - 1);
  if (length < 0) return -1;
  target[length] = 0;
  size_t kept = target[0] == '/' ? 0 : (size_t)(strlen(path) - strlen(name));
  if (kept + (size_t)length >= PATH_LONGEST) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memmove(path + kept, target, (size_t)length + 1);
  return 0;
}

/* A new empty file; a link to nothing is followed, inside the root, as images have it for /etc/resolv.conf. */
static int make_file(int root, char *path, int system) {
  for (int links = 0; links < LINKS_MAX; links++) {
    const char *name;
    int parent = root_parent(root, path, &name, system);
    if (parent < 0) return -1;
    int made = openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644);
    int error = errno, followed = made < 0 && error == EEXIST && !system ? follow(parent, name, path) : -1;
    close(parent);
    errno = error;
    if (made >= 0) {
      close(made);
      return root_open(root, path, O_PATH, system);
    }
    if (followed) return -1;
    int fd = root_open(root, path, O_PATH, system);
    if (fd >= 0 || errno != ENOENT) return fd;
  }
  errno = ELOOP;
  return -1;
}

int root_target(int root, const char *path, int is_file, int system) {
  char copy[PATH_LONGEST];
  int length = copy_path(copy, path);
  if (length < 0) return -1;
  if (!is_file) return make_directories(root, copy, (size_t)length, system);
  int fd = root_open(root, copy, O_PATH, system);
  return fd >= 0 || errno != ENOENT ? fd : make_file(root, copy, system);
}
