#include "confine.h"

#include <archive_entry.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIRECTORY_BYTES_MAX (96u * 1024 * 1024)

/* Records of a struct times and a path with its NUL, one after another. */
static struct {
  char *bytes;
  size_t used, room;
} directories;

struct times times_of(struct archive_entry *entry) {
  struct timespec mtime = {archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)};
  struct timespec atime = {archive_entry_atime(entry), archive_entry_atime_nsec(entry)};
  if (mtime.tv_nsec < 0 || mtime.tv_nsec > 999999999) mtime.tv_nsec = 0;
  if (atime.tv_nsec < 0 || atime.tv_nsec > 999999999) atime.tv_nsec = 0;
  return (struct times){{archive_entry_atime_is_set(entry) ? atime : mtime, mtime}};
}

int times_remember(struct archive_entry *entry, const char *path) {
  struct times times = times_of(entry);
  size_t length = strlen(path) + 1, needed = sizeof times + length;
  if (directories.used + needed > directories.room) {
    size_t room = directories.room ? 2 * directories.room : 64 * 1024;
    if (room > DIRECTORY_BYTES_MAX) return fail(KIND_EXHAUSTED, "the archive has too many directories");
    char *grown = realloc(directories.bytes, room);
    if (!grown) return fail(KIND_EXHAUSTED, "no memory for the archive's directories");
    directories.bytes = grown;
    directories.room = room;
  }
  memcpy(directories.bytes + directories.used, &times, sizeof times);
  memcpy(directories.bytes + directories.used + sizeof times, path, length);
  directories.used += needed;
  return 0;
}

void times_apply(void) {
  for (size_t at = 0; at < directories.used;) {
    struct times times;
    memcpy(&times, directories.bytes + at, sizeof times);
    const char *path = directories.bytes + at + sizeof times;
    at += sizeof times + strlen(path) + 1;
    // A later entry may have taken its place.
    int fd = place_open_directory(path);
    if (fd < 0) continue;
    futimens(fd, times.at);
    close(fd);
  }
}

int owner_of(struct archive_entry *entry, const char *path, uint32_t *uid, uint32_t *gid) {
  int64_t user = archive_entry_uid(entry), group = archive_entry_gid(entry);
  // The highest id means "no change" to chown.
  if (user < 0 || user >= UINT32_MAX || group < 0 || group >= UINT32_MAX)
    return fail(KIND_INVALID, "'%.200s': owner %lld:%lld is out of range", path, (long long)user, (long long)group);
  *uid = (uint32_t)user;
  *gid = (uint32_t)group;
  return 0;
}

bool has_prefix(const char *text, const char *prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

bool attribute_is_kept(const char *name) {
  if (has_prefix(name, "user.overlay.")) return false;
  return has_prefix(name, "user.") || strcmp(name, "security.capability") == 0 ||
         has_prefix(name, "system.posix_acl_");
}
