#include "unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

static struct {
  const struct unpack_options *options;
  int monitor;
  uint64_t bytes, entries;
} x;

uint64_t extract_bytes(void) { return x.bytes; }
uint64_t extract_entries(void) { return x.entries; }

/*
 * Attributes that a container's programs can see are set; those of the host's security modules, and trusted
 * ones, are left out, as nothing in a container may set them. What the file system cannot hold is left
 * out as well, as Docker does. Overlayfs's own would let a layer reach into the layers below: refused.
 */
static int set_xattrs(struct archive_entry *entry, const char *path, const char *base) {
  const char *name;
  const void *value;
  size_t size;
  archive_entry_xattr_reset(entry);
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
    if (!name) continue;
    if (has_prefix(name, "trusted.overlay.") || has_prefix(name, "user.overlay."))
      return fail(KIND_INVALID, "'%.200s': the extended attribute %.100s is overlayfs's own", path, name);
    if (!attribute_is_kept(name)) continue;
    if (lsetxattr(base, name, value, size, 0) < 0 && errno != ENOTSUP && errno != EPERM)
      return fail_errno("'%.200s': extended attribute %.100s", path, name);
  }
  return 0;
}

/* Owner, mode, attributes, times; in this order, since a change of owner clears set-id bits and capabilities. */
static int set_metadata(struct archive_entry *entry, const char *path, const char *base) {
  mode_t type = archive_entry_filetype(entry);
  if (x.options->mode == UNPACK_ARCHIVE) return 0;

  uint32_t uid, gid;
  if (owner_of(entry, path, &uid, &gid) < 0) return -1;
  if (lchown(base, uid, gid) < 0) return fail_errno("'%.200s': owner", path);
  if (type != AE_IFLNK && chmod(base, archive_entry_perm(entry) & 07777) < 0)
    return fail_errno("'%.200s': mode", path);
  if (set_xattrs(entry, path, base) < 0) return -1;
  if (type == AE_IFDIR) return times_remember(entry, path);
  struct times times = times_of(entry);
  if (utimensat(AT_FDCWD, base, times.at, AT_SYMLINK_NOFOLLOW) < 0) return fail_errno("'%.200s': times", path);
  return 0;
}

static int make_opaque(const char *path, const char *base) {
  int fd = open(base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return fail_errno("'%.200s': opening the directory", path);
  int result = opaque_request(x.monitor, fd);
  close(fd);
  return result;
}

static bool is_whiteout(const struct stat *st) { return S_ISCHR(st->st_mode) && st->st_rdev == 0; }

/* Takes away what an earlier entry of this archive made under the name: the last one counts. */
static int clear(const char *path, const char *base) {
  if (place_remove(base) == 0 || errno == ENOENT) return 0;
  return fail_errno("'%.200s': replacing an earlier entry", path);
}

static int make_directory(const char *path, const char *base) {
  struct stat st;
  bool hides = false;
  if (lstat(base, &st) == 0) {
    if (S_ISDIR(st.st_mode)) return 0;
    hides = is_whiteout(&st);
    if (clear(path, base) < 0) return -1;
  }
  if (mkdir(base, 0755) < 0) return fail_errno("'%.200s': making the directory", path);
  // A whiteout and a directory of one name: the lower one is gone, this one begins anew.
  return hides && x.options->mode == UNPACK_LAYER ? make_opaque(path, base) : 0;
}

static int write_content(struct archive *archive, struct archive_entry *entry, const char *path, int fd) {
  int64_t size = archive_entry_size(entry);
  // A sparse file takes no bytes of the archive for its holes, yet a copy of it would.
  if (size < 0 || (uint64_t)size > x.options->input.bytes_max - x.bytes)
    return fail(KIND_EXHAUSTED, "'%.200s': the archive's files are larger than %llu bytes together", path,
                (unsigned long long)x.options->input.bytes_max);
  x.bytes += (uint64_t)size;
  return input_write(archive, size, path, fd);
}

static int make_file(struct archive *archive, struct archive_entry *entry, const char *path, const char *base) {
  if (clear(path, base) < 0) return -1;
  int fd = open(base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return fail_errno("'%.200s': making the file", path);
  int result = write_content(archive, entry, path, fd);
  close(fd);
  return result;
}

static int make_hard_link(struct archive_entry *entry, const char *path) {
  char target[PATH_MAX];
  const char *raw = archive_entry_hardlink(entry), *from, *base;
  // Some tools write the target from the container's root. It is looked up in this layer either way.
  if (place_normalise("hard link to", raw + strspn(raw, "/"), target) < 0) return -1;
  if (strcmp(target, path) == 0) return 0;
  int directory = place_parent(target, &from);
  if (directory < 0 || faccessat(directory, from, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
    if (directory >= 0) close(directory);
    return fail(KIND_INVALID, "'%.200s': the hard link's target '%.200s' is not in this archive", path, raw);
  }
  struct stat st;
  int result = 0;
  if (fstatat(directory, from, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
    result = fail(KIND_INVALID, "'%.200s': the hard link's target '%.200s' is a directory", path, raw);
  if (result == 0) result = place_enter(path, &base);
  if (result == 0) result = clear(path, base);
  if (result == 0 && linkat(directory, from, AT_FDCWD, base, 0) < 0)
    result = fail_errno("'%.200s': hard link to '%.200s'", path, raw);
  close(directory);
  return result;
}

static int make_whiteout(const char *path, const char *name) {
  struct stat st;
  if (*name == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
    return fail(KIND_INVALID, "'%.200s': a whiteout of nothing", path);
  if (lstat(name, &st) == 0) {
    // A whiteout speaks of the layers below alone: what this layer has stays, and hides what is below.
    return S_ISDIR(st.st_mode) ? make_opaque(path, name) : 0;
  }
  if (mknod(name, S_IFCHR | 0, makedev(0, 0)) < 0) return fail_errno("'%.200s': making the whiteout", path);
  return 0;
}

static int make_node(struct archive_entry *entry, const char *path, const char *base, mode_t type) {
  if (clear(path, base) < 0) return -1;
  dev_t device = type == S_IFIFO ? 0 : makedev(archive_entry_rdevmajor(entry), archive_entry_rdevminor(entry));
  if (mknod(base, type | 0600, device) < 0) return fail_errno("'%.200s': making the device", path);
  return 0;
}

static int make_symlink(struct archive_entry *entry, const char *path, const char *base) {
  const char *target = archive_entry_symlink(entry);
  if (!target || !*target) return fail(KIND_INVALID, "'%.200s': a symbolic link to nothing", path);
  if (clear(path, base) < 0) return -1;
  return symlink(target, base) < 0 ? fail_errno("'%.200s': making the symbolic link", path) : 0;
}

static int make_by_type(struct archive *archive, struct archive_entry *entry, const char *path, const char *base) {
  mode_t type = archive_entry_filetype(entry);
  switch (type) {
    case AE_IFDIR:
      return make_directory(path, base);
    case AE_IFREG:
      return make_file(archive, entry, path, base);
    case AE_IFLNK:
      return make_symlink(entry, path, base);
    case AE_IFCHR:
    case AE_IFBLK:
    case AE_IFIFO:
      if (x.options->mode == UNPACK_LAYER) return make_node(entry, path, base, type);
      __attribute__((fallthrough));
    default:
      return fail(KIND_INVALID, "'%.200s': an entry of a kind that has no place here (type 0%o)", path, type);
  }
}

/* Names that begin with the prefix twice are aufs's own, with all below them; but for the opaque mark. */
static bool is_aufs_record(const char *path) {
  for (const char *part = path; part; part = strchr(part, '/')) {
    part += *part == '/';
    if (has_prefix(part, ".wh..wh.") && strcmp(part, ".wh..wh..opq") != 0) return true;
  }
  return false;
}

/* Whiteouts of the OCI image layer specification. 1: it was one; 0: an ordinary entry; -1 after fail(). */
static int take_whiteout(const char *path) {
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *base;
  if (x.options->mode != UNPACK_LAYER) return 0;
  if (is_aufs_record(path)) return 1;
  if (!has_prefix(name, ".wh.")) return 0;
  if (place_enter(path, &base) < 0) return -1;
  if (strcmp(name, ".wh..wh..opq") == 0) return make_opaque(path, ".") < 0 ? -1 : 1;
  return make_whiteout(path, name + 4) < 0 ? -1 : 1;
}

static int extract_entry(struct archive *archive, struct archive_entry *entry) {
  char path[PATH_MAX];
  const char *raw = archive_entry_pathname(entry), *base;
  if (!raw || !*raw) return fail(KIND_INVALID, "an entry without a name");
  if (place_normalise("entry", raw, path) < 0) return -1;
  if (*path == 0) {
    if (archive_entry_filetype(entry) != AE_IFDIR)
      return fail(KIND_INVALID, "entry '%.200s': the root can only be a directory", raw);
    return place_enter("", &base) < 0 ? -1 : set_metadata(entry, "", ".");
  }
  int whiteout = take_whiteout(path);
  if (whiteout != 0) return whiteout < 0 ? -1 : 0;
  // Its metadata is that of the file it names, which has its own entry.
  if (archive_entry_hardlink(entry)) return make_hard_link(entry, path);
  if (place_enter(path, &base) < 0) return -1;
  if (make_by_type(archive, entry, path, base) < 0) return -1;
  return set_metadata(entry, path, base);
}

static int extract_all(struct archive *archive) {
  struct archive_entry *entry;
  int found;
  while ((found = input_entry(archive, &entry)) > 0) {
    if (++x.entries > x.options->entries_max)
      return fail(KIND_EXHAUSTED, "the archive has more than %llu entries",
                  (unsigned long long)x.options->entries_max);
    if (extract_entry(archive, entry) < 0) return -1;
  }
  return found;
}

/*
 * Symbolic links on the way are followed as long as they are relative and stay beneath the root, as in layers
 * with `lib -> usr/lib`. An absolute link, or one that climbs out, is refused (EXDEV) although it could not
 * harm here: what it names belongs to another root.
 */
static int open_root(void) {
  int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return fail_errno("opening the target directory");
  place_begin(root, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV);
  return 0;
}

int extract(const struct unpack_options *options, int monitor) {
  x.options = options;
  x.monitor = monitor;
  if (open_root() < 0 || input_open(&options->input, true) < 0) return -1;
  struct archive *archive = input_archive();
  if (!archive || extract_all(archive) < 0 || input_drain() < 0) return -1;
  times_apply();
  archive_read_free(archive);
  return 0;
}
