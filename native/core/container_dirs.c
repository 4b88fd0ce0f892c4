/* A container's directories: made, and taken away with whatever somebody hostile has made in them. */
#include "error.h"
#include "remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int rt_container_make(const char *data_dir, const char *run_dir, const char *name, const void *content, int size,
                      rt_error *err) {
  if (mkdir(data_dir, 0700) && errno != EEXIST) return rt_fail(err, errno, "making %s", data_dir);
  if (mkdir(run_dir, 0700) && errno != EEXIST) return rt_fail(err, errno, "making %s", run_dir);
  int dir = open(data_dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  int fd = dir < 0 ? -1 : openat(dir, name, O_CREAT | O_TRUNC | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
  int status = errno;
  if (dir >= 0) close(dir);
  if (fd < 0) return rt_fail(err, status, "making %s/%s", data_dir, name);
  ssize_t written = write(fd, content, (size_t)size);
  status = written < 0 ? errno : ENOSPC;
  close(fd);
  return written == size ? 0 : rt_fail(err, status, "writing %s/%s", data_dir, name);
}

#define DEEPEST 32u /* directories held open at once; deeper ones are moved up */

static int clear_directory(int top, int dir, dev_t device, unsigned depth, unsigned *moved, unsigned *seen);

static int remove_entry(int top, int dir, const char *name, dev_t device, unsigned depth, unsigned *moved) {
  if (unlinkat(dir, name, 0) == 0 || errno == ENOENT) return 0;
  if (errno != EISDIR && errno != EPERM) return -errno;
  if (unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return 0;
  if (errno != ENOTEMPTY && errno != EEXIST) return -errno;
  if (depth >= DEEPEST) {
    char up[32];
    snprintf(up, sizeof up, ".deep-%u", (*moved)++);
    return renameat(dir, name, top, up) ? -errno : 0;
  }
  int child = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (child < 0) return -errno;
  struct stat found;
  unsigned seen;
  int result = fstat(child, &found) ? -errno : found.st_dev != device ? -EXDEV : 0;
  if (result == 0) result = clear_directory(top, child, device, depth + 1, moved, &seen);
  close(child);
  if (result == 0 && unlinkat(dir, name, AT_REMOVEDIR) && errno != ENOENT) result = -errno;
  return result;
}

static int clear_directory(int top, int dir, dev_t device, unsigned depth, unsigned *moved, unsigned *seen) {
  int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0;
  DIR *listing = copy < 0 ? NULL : fdopendir(copy);
  if (!listing) return -errno;
  *seen = 0;
  for (struct dirent *entry; result == 0 && (entry = readdir(listing));) {
    if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
    (*seen)++;
    result = remove_entry(top, dir, entry->d_name, device, depth, moved);
  }
  closedir(listing);
  return result;
}

static int remove_tree(const char *path) {
  int top = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (top < 0) {
    if (errno == ENOENT) return 0;
    return errno == ENOTDIR && unlink(path) == 0 ? 0 : -errno;
  }
  struct stat found;
  unsigned moved = 0, seen = 1;
  int result = fstat(top, &found) ? -errno : 0;
  /* What was moved up shows in a later pass. */
  while (result == 0 && seen > 0) result = clear_directory(top, top, found.st_dev, 0, &moved, &seen);
  close(top);
  if (result == 0 && rmdir(path) && errno != ENOENT) result = -errno;
  return result;
}

int rt_clear(const char *const *groups, const char *const *trees, rt_error *err) {
  const char *culprit = NULL;
  int first = 0;
  for (; *groups; groups++) {
    int result = rt_remove_group(*groups);
    if (result < 0 && !culprit) first = result, culprit = *groups;
  }
  for (; *trees; trees++) {
    int result = remove_tree(*trees);
    if (result < 0 && !culprit) first = result, culprit = *trees;
  }
  return culprit ? rt_fail(err, -first, "removing %s", culprit) : 0;
}

int rt_container_discard(const char *run_dir, const char *data_dir, const char *trash, rt_error *err) {
  int result = remove_tree(run_dir);
  if (result < 0) return rt_fail(err, -result, "removing %s", run_dir);
  if (rename(data_dir, trash) == 0 || errno == ENOENT) return 0;
  /* There already, from a removal that was cut short. */
  result = errno == ENOTEMPTY || errno == EEXIST ? remove_tree(trash) : -errno;
  if (result == 0 && rename(data_dir, trash) && errno != ENOENT) result = -errno;
  return result < 0 ? rt_fail(err, -result, "moving %s away", data_dir) : 0;
}
