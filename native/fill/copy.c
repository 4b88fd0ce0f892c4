/*
 * A tree copied by descriptors. Layers are read-only, and nobody else writes to the copy, unless the volume is a mount of
 * its own that some container has already.
 */
#include "fill.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/limits.h>
#include <search.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../confine/confine.h"
#include "../include/open_how.h"

#define PIECE (256u << 10)

/* Files with several names, by what they are; the copy's first name is linked to. */
struct linked {
  dev_t device;
  ino_t inode;
  char path[];
};
/* A tree (tsearch(3)), since an image may have millions of them. */
static void *links;
static int copy_root = -1;
static char path[PATH_MAX]; /* of the entry at hand, below the copy's root */

static int is_dots(const char *name) { return !strcmp(name, ".") || !strcmp(name, ".."); }

static int compare_links(const void *a, const void *b) {
  const struct linked *one = a, *other = b;
  if (one->inode != other->inode) return one->inode < other->inode ? -1 : 1;
  return one->device == other->device ? 0 : one->device < other->device ? -1 : 1;
}

static const struct linked *find_link(const struct stat *found) {
  struct linked wanted = {.device = found->st_dev, .inode = found->st_ino};
  struct linked *const *there = tfind(&wanted, &links, compare_links);
  return there ? *there : NULL;
}

static int keep_link(const struct stat *found) {
  struct linked *made = malloc(sizeof *made + strlen(path) + 1);
  if (!made) return fail_errno("copying '%.200s'", path);
  made->device = found->st_dev;
  made->inode = found->st_ino;
  strcpy(made->path, path);
  return tsearch(made, &links, compare_links) ? 0 : fail_errno("copying '%.200s'", path);
}

/* Attributes that are the layers' own, or a label of this host's, are not the image's. */
static int is_images(const char *name) {
  return strncmp(name, "trusted.", 8) != 0 && strcmp(name, "security.selinux") != 0;
}

static int copy_xattr(int from, int to, const char *attribute, const char *name) {
  static char value[XATTR_SIZE_MAX];
  ssize_t size = fgetxattr(from, attribute, value, sizeof value);
  if (size < 0) return errno == ENODATA ? 0 : fail_errno("reading %s of '%.200s'", attribute, name);
  if (fsetxattr(to, attribute, value, (size_t)size, 0) == 0) return 0;
  /* A file system without them, a tmpfs for one, holds the rest all the same. */
  return errno == ENOTSUP ? 0 : fail_errno("setting %s of '%.200s'", attribute, name);
}

int copy_label(int from, int to) {
  char label[XATTR_NAME_MAX * 4];
  ssize_t size = fgetxattr(from, "security.selinux", label, sizeof label);
  if (size < 0 || fsetxattr(to, "security.selinux", label, (size_t)size, 0) == 0) return 0;
  /* Without SELinux nobody asks for it. */
  return errno == ENOTSUP || errno == EPERM ? 0 : fail_errno("labelling the copy");
}

static int copy_xattrs(int from, int to, const char *name) {
  static char list[XATTR_LIST_MAX];
  ssize_t size = flistxattr(from, list, sizeof list);
  if (size < 0) return errno == ENOTSUP ? 0 : fail_errno("reading the attributes of '%.200s'", name);
  for (char *at = list; at < list + size; at += strlen(at) + 1)
    if (is_images(at) && copy_xattr(from, to, at, name) < 0) return -1;
  return 0;
}

int copy_attributes(int from, int to, const char *name) {
  struct stat found;
  if (fstat(from, &found)) return fail_errno("looking at '%.200s'", name);
  const struct timespec times[2] = {found.st_atim, found.st_mtim};
  /* The owner first: a change of it takes set-id bits and capabilities away. */
  if (fchown(to, found.st_uid, found.st_gid) || fchmod(to, found.st_mode & 07777))
    return fail_errno("setting owner and mode of '%.200s'", name);
  if (copy_xattrs(from, to, name) < 0) return -1;
  return futimens(to, times) ? fail_errno("setting the times of '%.200s'", name) : 0;
}

static int copy_content(int from, int to) {
  static char piece[PIECE];
  for (;;) {
    ssize_t size = read(from, piece, sizeof piece);
    if (size == 0) return 0;
    if (size < 0) return fail_errno("reading '%.200s'", path);
    for (ssize_t at = 0; at < size;) {
      ssize_t written = write(to, piece + at, (size_t)(size - at));
      if (written < 0) return fail_errno("writing '%.200s'", path);
      at += written;
    }
  }
}

/*
 * The directory of a path in the copy. A volume that is a mount of its own is copied inside, where a container that has it
 * already may put links in the way: none is followed.
 */
static int open_parent(const char *of, const char **base) {
  char parent[PATH_MAX];
  struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                         .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
  const char *slash = strrchr(of, '/');
  size_t length = slash ? (size_t)(slash - of) : 0;
  memcpy(parent, of, length);
  parent[length] = 0;
  *base = slash ? slash + 1 : of;
  return open_how(copy_root, length ? parent : ".", how);
}

static int link_to(const char *first, int to, const char *name) {
  const char *base;
  int parent = open_parent(first, &base);
  int result = parent < 0 || linkat(parent, base, to, name, 0) ? fail_errno("linking '%.200s'", path) : 0;
  if (parent >= 0) close(parent);
  return result;
}

static int copy_file(int from, int to, const char *name, const struct stat *found) {
  if (found->st_nlink > 1) {
    const struct linked *first = find_link(found);
    if (first) return link_to(first->path, to, name);
    if (keep_link(found) < 0) return -1;
  }
  int source = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (source < 0) return fail_errno("opening '%.200s'", path);
  int target = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  int result = target < 0 ? fail_errno("making '%.200s'", path) : copy_content(source, target);
  if (result == 0) result = copy_attributes(source, target, path);
  if (target >= 0) close(target);
  close(source);
  return result;
}

static int copy_link(int from, int to, const char *name, const struct stat *found) {
  char target[PATH_MAX];
  ssize_t length = readlinkat(from, name, target, sizeof target - 1);
  if (length < 0) return fail_errno("reading the link '%.200s'", path);
  target[length] = 0;
  const struct timespec times[2] = {found->st_atim, found->st_mtim};
  if (symlinkat(target, to, name) || fchownat(to, name, found->st_uid, found->st_gid, AT_SYMLINK_NOFOLLOW) ||
      utimensat(to, name, times, AT_SYMLINK_NOFOLLOW))
    return fail_errno("making the link '%.200s'", path);
  return 0;
}

/*
 * Pipes and devices; the mode comes with them, since nothing is masked. A socket belongs to a process that is not there, and
 * stays behind.
 */
static int copy_node(int to, const char *name, const struct stat *found) {
  if (S_ISSOCK(found->st_mode)) return 0;
  const struct timespec times[2] = {found->st_atim, found->st_mtim};
  if (mknodat(to, name, found->st_mode, found->st_rdev) ||
      fchownat(to, name, found->st_uid, found->st_gid, AT_SYMLINK_NOFOLLOW) ||
      utimensat(to, name, times, AT_SYMLINK_NOFOLLOW))
    return fail_errno("making '%.200s'", path);
  return 0;
}

static int copy_directory(int from, int to, unsigned depth);

static int copy_entry(int from, int to, const char *name, unsigned depth) {
  struct stat found;
  if (fstatat(from, name, &found, AT_SYMLINK_NOFOLLOW)) return fail_errno("looking at '%.200s'", path);
  if (S_ISREG(found.st_mode)) return copy_file(from, to, name, &found);
  if (S_ISLNK(found.st_mode)) return copy_link(from, to, name, &found);
  if (!S_ISDIR(found.st_mode)) return copy_node(to, name, &found);
  if (depth == FILL_DEPTH_MAX) return fail(KIND_EXHAUSTED, "'%.200s': deeper than %u directories", path, depth);
  int source = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (source < 0) return fail_errno("opening '%.200s'", path);
  int target = mkdirat(to, name, 0700) ? -1 : openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  int result = target < 0 ? fail_errno("making '%.200s'", path) : copy_directory(source, target, depth + 1);
  if (result == 0) result = copy_attributes(source, target, path);
  if (target >= 0) close(target);
  close(source);
  return result;
}

static int copy_directory(int from, int to, unsigned depth) {
  int again = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0;
  DIR *listing = again < 0 ? NULL : fdopendir(again);
  if (!listing) return fail_errno("listing '%.200s'", path);
  size_t length = strlen(path);
  for (struct dirent *entry; result == 0 && (entry = readdir(listing));) {
    if (is_dots(entry->d_name)) continue;
    int added = snprintf(path + length, sizeof path - length, "%s%s", length ? "/" : "", entry->d_name);
    if ((size_t)added >= sizeof path - length) result = fail(KIND_INVALID, "'%.200s': the path is too long", path);
    else result = copy_entry(from, to, entry->d_name, depth);
    path[length] = 0;
  }
  closedir(listing);
  return result;
}

int copy_tree(int from, int to) {
  copy_root = to;
  path[0] = 0;
  return copy_directory(from, to, 0);
}

static int remove_entries(int dir) {
  int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0;
  DIR *listing = again < 0 ? NULL : fdopendir(again);
  if (!listing) return fail_errno("listing what an earlier copy left");
  for (struct dirent *entry; result == 0 && (entry = readdir(listing));)
    if (!is_dots(entry->d_name)) result = remove_tree(dir, entry->d_name);
  closedir(listing);
  return result;
}

int remove_tree(int dir, const char *name) {
  if (unlinkat(dir, name, 0) == 0 || errno == ENOENT) return 0;
  if (errno != EISDIR && errno != EPERM) return fail_errno("removing '%.200s'", name);
  int child = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (child < 0) return fail_errno("removing '%.200s'", name);
  int result = remove_entries(child);
  close(child);
  if (result == 0 && unlinkat(dir, name, AT_REMOVEDIR)) result = fail_errno("removing '%.200s'", name);
  return result;
}
