/* The container's cgroups: made with their limits before anything is in them, joined, and removed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container.h"

int write_file(int dir, const char *path, const char *value) {
  int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t length = (ssize_t)strlen(value), written = write(fd, value, (size_t)length);
  int error = written < 0 ? errno : EIO;
  close(fd);
  if (written == length) return 0;
  errno = error;
  return -1;
}

int groups_make(const struct spec *spec, int clone_into, const char **culprit) {
  uint32_t offset = 0;
  struct spec_record record;
  int group = -1, result = 0;
  while (result == 0 && spec_next(spec, &offset, &record)) {
    if (record.type == SPEC_GROUP) {
      if (group >= 0) close(group);
      group = -1;
      if (!!(spec_number(&record, 0) & SPEC_GROUP_CLONE_INTO) != clone_into) continue;
      *culprit = spec_string(&record, 0);
      if (mkdir(*culprit, 0755) && errno != EEXIST) return -1;
      group = open(*culprit, O_PATH | O_DIRECTORY | O_CLOEXEC);
      if (group < 0) return -1;
    } else if (record.type == SPEC_GROUP_FILE && group >= 0) {
      *culprit = spec_string(&record, 0);
      result = write_file(group, *culprit, spec_string(&record, 1));
      if (result && errno == ENOENT && (spec_number(&record, 0) & SPEC_GROUP_FILE_OPTIONAL)) result = 0;
    }
  }
  int error = errno;
  if (group >= 0) close(group);
  errno = error;
  return result;
}

void child_join_groups(const struct child *child) {
  const char *culprit = "";
  if (groups_make(child->spec, 0, &culprit)) child_fail(child, STAGE_GROUP, culprit);
  uint32_t offset = 0;
  struct spec_record record;
  while (spec_next(child->spec, &offset, &record)) {
    if (record.type != SPEC_GROUP || (spec_number(&record, 0) & SPEC_GROUP_CLONE_INTO)) continue;
    /*
     * "0" is the writer itself, and this process has one thread: the kernel then takes no global lock.
     * Any other pid would wait for an RCU grace period, 10 to 20 ms on an idle machine.
     */
    if (write_file(AT_FDCWD, spec_string(&record, 1), "0")) child_fail(child, STAGE_GROUP, spec_string(&record, 1));
  }
}

void groups_remove(const struct spec *spec) {
  uint32_t offset = 0;
  struct spec_record record;
  while (spec_next(spec, &offset, &record))
    if (record.type == SPEC_GROUP) rmdir(spec_string(&record, 0)); /* what a container made below: the agent's */
}
