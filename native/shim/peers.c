/* Which mounts have peers outside: what is mounted on those shows there as well, and stays when the container has gone. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "container.h"
#include "sys.h"

/* struct statx (statx(2)) as words, as in mounts.c. */
#define STATX_WORDS 32
#define STATX_MOUNT_ID_WORD 18
#define WANT_MOUNT_ID 0x1000u

static uint64_t mount_id(int fd) {
  uint64_t found[STATX_WORDS] = {0};
  return syscall(SYS_statx, fd, "", AT_EMPTY_PATH, WANT_MOUNT_ID, found) ? 0 : found[STATX_MOUNT_ID_WORD];
}

/* A line of /proc/PID/mountinfo (proc(5)): id first; from the seventh field to the "-" how mounts travel. */
struct line {
  uint64_t id;
  unsigned field;
  size_t length;              /* of the field so far */
  int is_over, is_shared;     /* past the "-"; "shared:" was among them */
  size_t matched;
};

/* 1: a whole line has been read. */
static int take(struct line *line, char c) {
  static const char shared[] = "shared:";
  if (c == '\n') return 1;
  if (c == ' ') {
    line->field++;
    line->length = line->matched = 0;
    return 0;
  }
  if (line->field == 0) line->id = line->id * 10 + (uint64_t)(c - '0');
  if (line->field >= 6 && line->length == 0 && c == '-') line->is_over = 1;
  if (line->field >= 6 && !line->is_over && line->matched == line->length && line->matched < sizeof shared - 1 &&
      c == shared[line->matched] && ++line->matched == sizeof shared - 1)
    line->is_shared = 1;
  line->length++;
  return 0;
}

/* Whether the mount of this id has peers; -1, errno set, where that cannot be told. */
static int has_peers(uint64_t id) {
  char buffer[4096];
  struct line line = {0};
  int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC), result = -1;
  ssize_t got = fd < 0 ? -1 : 0;
  while (result < 0 && fd >= 0 && (got = read(fd, buffer, sizeof buffer)) > 0) {
    for (ssize_t i = 0; result < 0 && i < got; i++) {
      if (!take(&line, buffer[i])) continue;
      if (line.id == id) result = line.is_shared;
      line = (struct line){0};
    }
  }
  int error = got < 0 ? errno : ENOENT;
  if (fd >= 0) close(fd);
  errno = error;
  return result;
}

void child_refuse_shared(const struct child *child, int target, const char *path) {
  if (child->shared_count == 0) return; /* all else has been made private or a slave */
  uint64_t id = mount_id(target);
  int result = id ? has_peers(id) : -1;
  if (result == 0) return;
  if (result > 0) errno = EXDEV;
  child_fail(child, STAGE_SHARED, path);
}
