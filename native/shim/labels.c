#include "labels.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "sys.h"
#include "text.h"

#define ATTRIBUTE "security.selinux"
#define LABEL_LONGEST 4096u
#define PATH_LONGEST 4096u

const char *label_of(const struct spec *spec, enum label which) {
  struct spec_record record;
  if (!spec_find(spec, SPEC_LABELS, &record)) return 0;
  const char *label = spec_string(&record, which);
  return *label ? label : 0;
}

const char *label_context(const struct spec *spec, const char *file_system) {
  static const char *const labelled[] = {"overlay", "tmpfs", "devpts"};
  for (unsigned i = 0; i < sizeof labelled / sizeof *labelled; i++)
    if (!strcmp(file_system, labelled[i])) return label_of(spec, LABEL_MOUNT);
  return 0;
}

/* ---- one file */

/* What the system calls take that have no use for O_PATH: the file itself, a link too, by our own descriptor. */
static void path_of(int fd, char path[32]) {
  struct text text;
  text_init(&text, path, 32);
  text_add(&text, "/proc/self/fd/");
  text_number(&text, (uint64_t)fd);
}

int label_file(int fd, const char *label) {
  char path[32];
  path_of(fd, path);
  return setxattr(path, ATTRIBUTE, label, strlen(label) + 1, 0) && errno != ENOTSUP ? -1 : 0;
}

static int has_label(int fd, const char *label) {
  char path[32], there[LABEL_LONGEST];
  path_of(fd, path);
  ssize_t size = getxattr(path, ATTRIBUTE, there, sizeof there - 1);
  if (size < 0) return 0;
  there[size] = 0;
  return !strcmp(there, label);
}

/* By what they are, not by how they are called. Source: opencontainers/selinux, its list of paths. */
static int is_systems(const struct stat *file) {
  static const char *const kept[] = {
      "/",    "/bin",  "/boot", "/dev", "/etc",  "/etc/passwd", "/etc/pki", "/etc/shadow", "/home", "/lib",     "/lib64",
      "/media", "/opt", "/proc", "/root", "/run", "/sbin",      "/srv",     "/sys",        "/tmp",  "/usr",     "/var",
      "/var/lib", "/var/log"};
  struct stat found;
  for (unsigned i = 0; i < sizeof kept / sizeof *kept; i++)
    if (stat(kept[i], &found) == 0 && found.st_dev == file->st_dev && found.st_ino == file->st_ino) return 1;
  return 0;
}

/*
 * ---- a tree: its directories are opened one at a time, by their paths beneath the top, so that its depth costs nothing.
 * Where a path would be too long for the kernel, the directory that it leads to becomes the top of what is in it.
 */

#define LISTING 4096u
#define TOPS_MAX 64u
/* Address space alone, until it is used. */
#define WAITING_SIZE ((size_t)256 << 20)

struct walk {
  const char *label;
  /* Paths that wait, one after the other, each ended by NUL; the last is the next. */
  char *waiting;
  size_t used;
  unsigned tops;
};

static int label_below(struct walk *walk, int top);

/* 1: it is too long. */
static int push(struct walk *walk, const char *parent, const char *name) {
  size_t before = strlen(parent), length = strlen(name), size = before + 1 + length + 1;
  if (size > PATH_LONGEST) return 1;
  if (walk->used + size > WAITING_SIZE) {
    errno = E2BIG;
    return -1;
  }
  char *at = walk->waiting + walk->used;
  memcpy(at, parent, before);
  at[before] = '/';
  memcpy(at + before + 1, name, length + 1);
  walk->used += size;
  return 0;
}

static void pop(struct walk *walk, char path[PATH_LONGEST]) {
  size_t start = walk->used - 1;
  while (start > 0 && walk->waiting[start - 1]) start--;
  memcpy(path, walk->waiting + start, walk->used - start);
  walk->used = start;
}

/* What has gone, or become something else, since it was listed has no label to get here. */
static int is_gone(int error) { return error == ENOENT || error == ENOTDIR || error == ELOOP || error == EXDEV; }

static int label_entry(struct walk *walk, int dir, const char *path, const char *name) {
  struct stat found;
  int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return is_gone(errno) ? 0 : -1;
  int result = fstat(fd, &found);
  if (result == 0 && !S_ISDIR(found.st_mode)) result = label_file(fd, walk->label);
  else if (result == 0) result = push(walk, path, name);
  if (result > 0) result = label_file(fd, walk->label) ? -1 : label_below(walk, fd);
  int error = errno;
  close(fd);
  errno = error;
  return result;
}

static int label_entries(struct walk *walk, int dir, const char *path) {
  union {
    struct dirent aligned;
    char bytes[LISTING];
  } listing;
  for (;;) {
    long size = syscall(SYS_getdents64, dir, listing.bytes, sizeof listing.bytes);
    if (size <= 0) return (int)size;
    for (long at = 0; at < size;) {
      const struct dirent *entry = (const struct dirent *)(listing.bytes + at);
      at += entry->d_reclen;
      if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
      if (label_entry(walk, dir, path, entry->d_name)) return -1;
    }
  }
}

static int label_directory(struct walk *walk, int top, const char *path) {
  const uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  int dir = sys_openat2(top, path, O_RDONLY | O_DIRECTORY, resolve);
  if (dir < 0) return is_gone(errno) || errno == EAGAIN ? 0 : -1;
  /* Before what is in it: what is made there meanwhile inherits it. The top's own label says that all is done. */
  int result = strcmp(path, ".") ? label_file(dir, walk->label) : 0;
  if (result == 0) result = label_entries(walk, dir, path);
  int error = errno;
  close(dir);
  errno = error;
  return result;
}

static int label_below(struct walk *walk, int top) {
  char path[PATH_LONGEST];
  size_t before = walk->used;
  if (++walk->tops > TOPS_MAX) {
    errno = ENAMETOOLONG;
    return -1;
  }
  int result = label_directory(walk, top, ".");
  while (result == 0 && walk->used > before) {
    pop(walk, path);
    result = label_directory(walk, top, path);
  }
  walk->tops--;
  return result;
}

static int label_all(int top, const char *label) {
  struct walk walk = {.label = label};
  walk.waiting = mmap(0, WAITING_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (walk.waiting == MAP_FAILED) return -1;
  int result = label_below(&walk, top), error = errno;
  munmap(walk.waiting, WAITING_SIZE);
  errno = error;
  return result;
}

int label_tree(int top, const char *label) {
  struct stat found;
  if (fstat(top, &found)) return -1;
  if (is_systems(&found)) {
    errno = ENOTSUP;
    return -1;
  }
  if (has_label(top, label)) return 0;
  if (S_ISDIR(found.st_mode) && label_all(top, label)) return -1;
  return label_file(top, label);
}
