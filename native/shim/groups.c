/* The container's cgroups: made with their limits before anything is in them, joined, and removed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container.h"
#include "text.h"

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

static int join_path(const struct spec *spec, const struct spec_record *group, char path[GROUP_PATH_MAX]) {
  struct text text;
  const char *file = spec_string(group, 1);
  if (!(spec_number(group, 0) & SPEC_GROUP_SHARED)) return group_path(spec, group->string, file, path);
  text_init(&text, path, GROUP_PATH_MAX);
  text_add(&text, group->string);
  text_add(&text, "/");
  text_add(&text, file);
  return 0;
}

int group_path(const struct spec *spec, const char *parent, const char *file, char path[GROUP_PATH_MAX]) {
  struct spec_record id;
  struct text text;
  spec_find(spec, SPEC_ID, &id);
  text_init(&text, path, GROUP_PATH_MAX);
  text_add(&text, parent);
  text_add(&text, "/");
  text_add(&text, id.string);
  if (*file) text_add(&text, "/");
  text_add(&text, file);
  if (text.cut) errno = ENAMETOOLONG;
  return text.cut ? -1 : 0;
}

static int write_values(int group, const struct spec_record *record) {
  const char *file = record->string, *value = file;
  for (uint32_t i = 1; i < record->string_count; i++) {
    value = spec_string_after(value);
    if (write_file(group, file, value) == 0) continue;
    return errno == ENOENT && (spec_number(record, 0) & SPEC_GROUP_FILE_OPTIONAL) ? 0 : -1;
  }
  return 0;
}

int groups_make(const struct spec *spec, int clone_into, const char **culprit) {
  static char path[GROUP_PATH_MAX];
  uint32_t offset = 0;
  struct spec_record record;
  int group = -1, result = 0;
  while (result == 0 && spec_next(spec, &offset, &record)) {
    if (record.type == SPEC_GROUP) {
      if (group >= 0) close(group);
      group = -1;
      if (!!(spec_number(&record, 0) & SPEC_GROUP_CLONE_INTO) != clone_into) continue;
      if (spec_number(&record, 0) & SPEC_GROUP_SHARED) continue;
      *culprit = path;
      if (group_path(spec, record.string, "", path) || (mkdir(path, 0755) && errno != EEXIST)) return -1;
      group = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
      if (group < 0) return -1;
    } else if (record.type == SPEC_GROUP_FILE && group >= 0) {
      *culprit = record.string;
      result = write_values(group, &record);
    }
  }
  int error = errno;
  if (group >= 0) close(group);
  errno = error;
  return result;
}

int groups_open(const struct spec *spec) {
  char path[GROUP_PATH_MAX];
  uint32_t offset = 0;
  struct spec_record record;
  while (spec_next(spec, &offset, &record))
    if (record.type == SPEC_GROUP && (spec_number(&record, 0) & SPEC_GROUP_CLONE_INTO) &&
        group_path(spec, record.string, "", path) == 0)
      return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return -1;
}

int groups_open_oom(const struct spec *spec) {
  char path[GROUP_PATH_MAX];
  uint32_t offset = 0;
  struct spec_record record;
  const char *parent = 0;
  while (spec_next(spec, &offset, &record)) {
    if (record.type == SPEC_GROUP) parent = record.string;
    if (record.type == SPEC_OOM_FILE && parent && group_path(spec, parent, record.string, path) == 0)
      return open(path, O_RDONLY | O_CLOEXEC);
  }
  return -1;
}

void child_join_groups(const struct child *child) {
  char path[GROUP_PATH_MAX];
  uint32_t offset = 0;
  struct spec_record record;
  while (spec_next(child->spec, &offset, &record)) {
    if (record.type != SPEC_GROUP || (spec_number(&record, 0) & SPEC_GROUP_CLONE_INTO)) continue;
    /*
     * "0" is the writer itself, and this process has one thread: the kernel then takes no global lock.
     * Any other pid would wait for an RCU grace period, 10 to 20 ms on an idle machine.
     */
    if (join_path(child->spec, &record, path) || write_file(AT_FDCWD, path, "0"))
      child_fail(child, STAGE_GROUP, path);
  }
}

void groups_remove(const struct spec *spec) {
  char path[GROUP_PATH_MAX];
  uint32_t offset = 0;
  struct spec_record record;
  while (spec_next(spec, &offset, &record)) /* what a container made below its group is the agent's to remove */
    if (record.type == SPEC_GROUP && !(spec_number(&record, 0) & SPEC_GROUP_SHARED) &&
        group_path(spec, record.string, "", path) == 0)
      rmdir(path);
}
