/*
 * Takes an archive in, while the container may run and mean ill. A name is looked up once, to a descriptor of its
 * directory; there only new things are made, never through a link; and what has been made is changed by its descriptor.
 */
#include "archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../shim/user.h"

static struct {
  const struct options *options;
  /* With --user. */
  bool has_owner;
  uint32_t uid, gid;
} p;

/* ---- where to */

static uint64_t mount_of(int fd) {
  struct statx found;
  return statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &found) == 0 ? found.stx_mnt_id : 0;
}

static int refuse_readonly(int fd) {
  struct statvfs fs;
  if (fstatvfs(fd, &fs) < 0) return fail_errno("looking at the file system");
  if (!(fs.f_flag & ST_RDONLY)) return 0;
  int root = find_open("/", true);
  bool is_root = root >= 0 && mount_of(root) == mount_of(fd);
  if (root >= 0) close(root);
  return fail(KIND_INVALID, is_root ? "container rootfs is marked read-only" : "mounted volume is marked read-only");
}

/* In Docker's words. */
static int open_target(const char *path) {
  struct stat st;
  int fd = find_open(path, true);
  if (fd < 0 && errno == ENOENT) return fail(KIND_NOT_FOUND, "no such file: %.200s", path);
  if (fd < 0 && errno == ENOTDIR) return fail(KIND_INVALID, "extraction point is not a directory");
  if (fd < 0) return fail_errno("lstat %.200s", path);
  if (fstat(fd, &st) < 0) return fail_errno("lstat %.200s", path);
  if (refuse_readonly(fd) < 0) return -1;
  place_begin(fd, RESOLVE_NO_MAGICLINKS);
  return 0;
}

static int open_file(const char *path) {
  char *slash = strrchr(path, '/');
  char parent[16];
  memcpy(parent, path, (size_t)(slash - path));
  parent[slash - path] = 0;
  struct stat st;
  int directory = find_open(parent, true);
  int fd = directory < 0 ? -1 : find_content(directory, slash + 1, S_IFREG, &st);
  if (directory >= 0) close(directory);
  return fd;
}

static int find_owner(const char *text) {
  struct user user;
  char buffer[256];
  const char *culprit = text;
  int passwd = open_file("/etc/passwd"), group = open_file("/etc/group");
  enum user_error error = user_resolve(text, passwd, group, &user, buffer, &culprit);
  if (passwd >= 0) close(passwd);
  if (group >= 0) close(group);
  if (error != USER_OK) return fail(KIND_INVALID, "unable to find user %.100s: no matching entries in passwd file", culprit);
  p.has_owner = true;
  p.uid = user.uid;
  p.gid = user.gid;
  return 0;
}

/* Names as Docker reads them: from the target, whatever they begin with; ".." is fine as long as it stays inside. */
static int clean(const char *raw, char path[PATH_MAX]) {
  size_t length = 0;
  for (const char *part = raw; *part;) {
    part += strspn(part, "/");
    size_t size = strcspn(part, "/");
    if (size == 2 && memcmp(part, "..", 2) == 0) {
      if (length == 0) return fail(KIND_INVALID, "\"%.200s\" is outside of \"%.200s\"", raw, p.options->path);
      while (length > 0 && path[--length] != '/') continue;
    } else if (size > 0 && !(size == 1 && *part == '.')) {
      if (size > 255 || length + size + 2 > PATH_MAX) return fail(KIND_INVALID, "'%.200s': the name is too long", raw);
      if (length > 0) path[length++] = '/';
      memcpy(path + length, part, size);
      length += size;
    }
    part += size;
  }
  path[length] = 0;
  return 0;
}

/* ---- what is made */

static int owner_for(struct archive_entry *entry, const char *path, uint32_t *uid, uint32_t *gid) {
  if (!p.has_owner) return owner_of(entry, path, uid, gid);
  *uid = p.uid;
  *gid = p.gid;
  return 0;
}

/* What the file system cannot hold is left out, as Docker does. */
static int set_attributes(struct archive_entry *entry, const char *path, int fd) {
  const char *name;
  const void *value;
  size_t size;
  archive_entry_xattr_reset(entry);
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
    if (!name || !attribute_is_kept(name)) continue;
    if (fsetxattr(fd, name, value, size, 0) < 0 && errno != ENOTSUP && errno != EPERM)
      return fail_errno("'%.200s': extended attribute %.100s", path, name);
  }
  return 0;
}

/* In this order, since a change of owner clears set-id bits and capabilities. */
static int set_metadata(struct archive_entry *entry, const char *path, int fd) {
  uint32_t uid, gid;
  if (owner_for(entry, path, &uid, &gid) < 0) return -1;
  if (fchown(fd, uid, gid) < 0) return fail_errno("'%.200s': owner", path);
  if (fchmod(fd, archive_entry_perm(entry) & 07777) < 0) return fail_errno("'%.200s': mode", path);
  return set_attributes(entry, path, fd);
}

/* Of a link or a node, which cannot be opened: by a descriptor of the thing itself, if it is still of its kind. */
static int set_bare_metadata(struct archive_entry *entry, const char *path, const char *base) {
  uint32_t uid, gid;
  struct stat st;
  struct times times = times_of(entry);
  if (owner_for(entry, path, &uid, &gid) < 0) return -1;
  int fd = open(base, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) < 0) return fail_errno("'%.200s': opening", path);
  int result = 0;
  if ((st.st_mode & S_IFMT) != archive_entry_filetype(entry)) result = fail(KIND_INVALID, "'%.200s' has been replaced", path);
  else if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0) result = fail_errno("'%.200s': owner", path);
  else if (utimensat(fd, "", times.at, AT_EMPTY_PATH) < 0) result = fail_errno("'%.200s': times", path);
  close(fd);
  return result;
}

static int clear(const char *path, const char *base) {
  if (place_remove(base) == 0 || errno == ENOENT) return 0;
  if (errno == EBUSY) { /* a mount: in Docker's words */
    const char *at = p.options->path;
    return fail_errno("Error processing tar file(exit status 1): unlinkat %.200s/%.200s", at[1] ? at : "", path);
  }
  return fail_errno("'%.200s': replacing what was there", path);
}

static int make_file(struct archive *archive, struct archive_entry *entry, const char *path, const char *base) {
  if (clear(path, base) < 0) return -1;
  int fd = open(base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return fail_errno("'%.200s': making the file", path);
  struct times times = times_of(entry);
  int result = input_write(archive, archive_entry_size(entry), path, fd);
  if (result == 0) result = set_metadata(entry, path, fd);
  if (result == 0 && futimens(fd, times.at) < 0) result = fail_errno("'%.200s': times", path);
  close(fd);
  return result;
}

static int make_directory(struct archive_entry *entry, const char *path, const char *base) {
  if (mkdir(base, 0700) < 0 && errno != EEXIST) return fail_errno("'%.200s': making the directory", path);
  int fd = open(base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return fail_errno("'%.200s': opening the directory", path);
  int result = set_metadata(entry, path, fd);
  close(fd);
  return result < 0 ? -1 : times_remember(entry, path);
}

static int make_hard_link(struct archive_entry *entry, const char *path) {
  char target[PATH_MAX];
  const char *raw = archive_entry_hardlink(entry), *from, *base;
  if (clean(raw, target) < 0) return -1;
  if (strcmp(target, path) == 0) return 0;
  int directory = place_parent(target, &from);
  if (directory < 0) return fail_errno("'%.200s': hard link to '%.200s'", path, raw);
  int result = place_enter(path, &base);
  if (result == 0) result = clear(path, base);
  if (result == 0 && linkat(directory, from, AT_FDCWD, base, 0) < 0) {
    // To a directory, or into another file system: the archive's own fault.
    bool is_bad = errno == EPERM || errno == EXDEV;
    result = is_bad ? fail(KIND_INVALID, "'%.200s': hard link to '%.200s', which cannot have any", path, raw)
                    : fail_errno("'%.200s': hard link to '%.200s'", path, raw);
  }
  close(directory);
  return result;
}

static int make_symlink(struct archive_entry *entry, const char *path, const char *base) {
  const char *target = archive_entry_symlink(entry);
  if (!target || !*target) return fail(KIND_INVALID, "'%.200s': a symbolic link to nothing", path);
  if (clear(path, base) < 0) return -1;
  if (symlink(target, base) < 0) return fail_errno("'%.200s': making the symbolic link", path);
  return set_bare_metadata(entry, path, base);
}

static int make_node(struct archive_entry *entry, const char *path, const char *base) {
  mode_t type = archive_entry_filetype(entry);
  if (clear(path, base) < 0) return -1;
  dev_t device = type == AE_IFIFO ? 0 : makedev(archive_entry_rdevmajor(entry), archive_entry_rdevminor(entry));
  if (mknod(base, type | (archive_entry_perm(entry) & 07777), device) < 0)
    return fail_errno("'%.200s': making the device", path);
  return set_bare_metadata(entry, path, base);
}

/* Source: moby pkg/archive, Unpack. */
static int check_kind(const char *path, const char *base, bool wants_directory) {
  struct stat st;
  if (fstatat(AT_FDCWD, base, &st, AT_SYMLINK_NOFOLLOW) < 0) return 0;
  bool is_directory = S_ISDIR(st.st_mode);
  const char *into = p.options->path, *slash = into[1] ? "/" : "";
  if (is_directory == wants_directory) return 0;
  if (p.options->keep_kind && is_directory)
    return fail(KIND_INVALID, "cannot overwrite directory \"%s%s%.300s\" with non-directory \"%.300s\"", into, slash, path, into);
  if (p.options->keep_kind)
    return fail(KIND_INVALID, "cannot overwrite non-directory \"%s%s%.300s\" with directory \"%.300s\"", into, slash, path, into);
  return clear(path, base);
}

static int take_entry(struct archive *archive, struct archive_entry *entry) {
  char path[PATH_MAX];
  const char *raw = archive_entry_pathname(entry), *base;
  mode_t type = archive_entry_filetype(entry);
  if (!raw || clean(raw, path) < 0) return raw ? -1 : fail(KIND_INVALID, "an entry without a name");
  // The target itself stays as it is.
  if (*path == 0) return 0;
  if (archive_entry_hardlink(entry)) return make_hard_link(entry, path);
  if (place_enter(path, &base) < 0) return -1;
  if (check_kind(path, base, type == AE_IFDIR) < 0) return -1;
  switch (type) {
    case AE_IFDIR: return make_directory(entry, path, base);
    case AE_IFREG: return make_file(archive, entry, path, base);
    case AE_IFLNK: return make_symlink(entry, path, base);
    case AE_IFCHR:
    case AE_IFBLK:
    case AE_IFIFO: return make_node(entry, path, base);
    default: return fail(KIND_INVALID, "'%.200s': an entry of a kind that has no place here (type 0%o)", path, type);
  }
}

int put_archive(const struct options *options) {
  struct archive_entry *entry;
  int found;
  p.options = options;
  if (open_target(options->path) < 0) return -1;
  if (options->user && find_owner(options->user) < 0) return -1;
  if (input_open(&options->input, false) < 0) return -1;
  struct archive *archive = input_archive();
  if (!archive) return -1;
  while ((found = input_entry(archive, &entry)) > 0)
    if (take_entry(archive, entry) < 0) return -1;
  if (found < 0 || input_drain() < 0) return -1;
  times_apply();
  report_line(REPORT, "{\"ok\":true}\n", 12);
  return 0;
}
