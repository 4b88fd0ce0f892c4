/* What is mounted in a container's root: file systems, binds, device nodes, masks. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "container.h"
#include "labels.h"
#include "root.h"
#include "sys.h"
#include "text.h"

/* struct statx (statx(2)) as words: musl lacks it before 1.2.5, and the kernel's own clashes with musl's after. */
#define STATX_WORDS 32
#define STATX_ATTRIBUTES 1
#define ATTR_MOUNT_ROOT 0x2000u

static int is_shared(const struct spec_record *record) {
  return record->type == SPEC_BIND && (spec_number(record, 1) & SPEC_MOUNT_PEER);
}

/* A copy of what a BIND names, mounted nowhere yet. -1, errno set. */
static int open_source(const struct child *child, const struct spec_record *record) {
  uint64_t flags = spec_number(record, 1);
  const char *source = spec_string(record, 1);
  char group[GROUP_PATH_MAX];
  if (flags & SPEC_MOUNT_GROUP) {
    if (group_path(child->spec, source, "", group)) return -1;
    source = group;
  }
  unsigned how = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (flags & SPEC_MOUNT_RECURSIVE ? AT_RECURSIVE : 0);
  int from = flags & SPEC_MOUNT_RELATIVE ? child->run_dir : AT_FDCWD;
  if (record->string_count < 3) return sys_open_tree(from, source, how);
  /* What lies in a volume was made by containers: no link in it may lead out of it. */
  int top = openat(from, source, O_PATH | O_DIRECTORY | O_CLOEXEC), beneath = -1, tree = -1;
  if (top >= 0)
    beneath = sys_openat2(top, spec_string(record, 2), O_PATH, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
  if (beneath >= 0) tree = sys_open_tree(beneath, "", how | AT_EMPTY_PATH);
  int error = errno;
  if (top >= 0) close(top);
  if (beneath >= 0) close(beneath);
  errno = error;
  return tree;
}

/* Names what could not be mounted; of a volume, the part of it. */
_Noreturn static void fail_source(const struct child *child, const struct spec_record *record) {
  int error = errno;
  char path[sizeof((struct failure *)0)->detail];
  struct text text;
  text_init(&text, path, sizeof path);
  if (record->string_count >= 2) text_add(&text, spec_string(record, 1));
  if (record->string_count >= 3) {
    text_add(&text, "/");
    text_add(&text, spec_string(record, 2));
  }
  errno = error;
  child_fail(child, STAGE_MOUNT, path);
}

/* Those that are to stay peers of the host's mounts are copied while this namespace's mounts still are. */
void child_open_shared(struct child *child) {
  uint32_t offset = 0;
  struct spec_record record;
  while (spec_next(child->spec, &offset, &record)) {
    if (!is_shared(&record)) continue;
    errno = E2BIG;
    int tree = record.string_count < 2 || child->shared_count == SHARED_MAX ? -1 : open_source(child, &record);
    if (tree < 0) fail_source(child, &record);
    child->shared[child->shared_count++] = tree;
  }
}

static int is_of(int fd, long magic) {
  struct statfs fs;
  return fstatfs(fd, &fs) == 0 && (long)fs.f_type == magic;
}

static int is_proc(int fd) { return is_of(fd, PROC_SUPER_MAGIC); }

/* Where a mount goes. A foreign one may not hide our proc, nor the root. */
static int target_of(struct child *child, const char *path, uint64_t flags) {
  int system = !!(flags & SPEC_MOUNT_SYSTEM);
  int target = root_target(child->root, path, !!(flags & SPEC_MOUNT_FILE), system);
  if (target < 0) child_fail(child, STAGE_MOUNT, path);
  if (!system) {
    struct stat here, root;
    if (is_proc(target) || fstat(target, &here) || fstat(child->root, &root) ||
        (here.st_dev == root.st_dev && here.st_ino == root.st_ino)) {
      errno = EPERM;
      child_fail(child, STAGE_MOUNT, path);
    }
  }
  child_refuse_shared(child, target, path);
  return target;
}

/* Makes a file system from "type, option…"; an option is "key=value" or "key". -1, errno set. */
static int new_mount(const struct child *child, const struct spec_record *record) {
  const char *type = spec_string(record, 1), *option = type, *context = label_context(child->spec, type);
  int fs = sys_fsopen(type);
  if (fs < 0) return -1;
  int result = sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", type, 0);
  for (uint32_t i = 2; result == 0 && i < record->string_count; i++) {
    char key[64];
    option = spec_string_after(option);
    const char *equals = strchr(option, '=');
    if (!equals) {
      result = sys_fsconfig(fs, FSCONFIG_SET_FLAG, option, 0, 0);
    } else if ((size_t)(equals - option) < sizeof key) {
      memcpy(key, option, (size_t)(equals - option));
      key[equals - option] = 0;
      result = sys_fsconfig(fs, FSCONFIG_SET_STRING, key, equals + 1, 0);
    } else {
      errno = EINVAL;
      result = -1;
    }
  }
  if (result == 0 && context) result = sys_fsconfig(fs, FSCONFIG_SET_STRING, "context", context, 0);
  if (result == 0) result = sys_fsconfig(fs, FSCONFIG_CMD_CREATE, 0, 0, 0);
  int mount = result == 0 ? sys_fsmount(fs, (unsigned)spec_number(record, 0)) : -1;
  int error = errno;
  close(fs);
  errno = error;
  return mount;
}

/* What is written to, opened or lent later, before anything covers it: sysctls, terminals, what others join. */
static void keep(struct child *child, int mount, uint64_t flags) {
  int is_own = !!(flags & SPEC_MOUNT_SYSTEM);
  if (is_own && child->proc < 0 && is_proc(mount)) {
    child->proc = mount;
    child->sysctl = root_open(mount, "sys", O_PATH | O_DIRECTORY, 1);
  } else if (is_own && child->devpts < 0 && is_of(mount, DEVPTS_SUPER_MAGIC)) {
    child->devpts = mount;
  } else if (is_own && (flags & SPEC_MOUNT_SHARED)) {
    child->shm = mount;
  } else {
    close(mount);
  }
}

/* Message queues belong to the IPC namespace, which has them before they are mounted: too late for an option. 0, or -1. */
static int label_queues(const struct child *child, const struct spec_record *record, int mount) {
  const char *label = label_of(child->spec, LABEL_MOUNT);
  return label && record->string_count >= 2 && !strcmp(spec_string(record, 1), "mqueue") ? label_file(mount, label) : 0;
}

static void do_mount(struct child *child, const struct spec_record *record) {
  uint64_t flags = spec_number(record, 1);
  int mount = -1;
  if (flags & SPEC_MOUNT_LENT) mount = loans_mount(child->loans, spec_string(record, 1));
  else if (record->string_count >= 2) mount = new_mount(child, record);
  if (mount < 0 && (flags & SPEC_MOUNT_OPTIONAL)) return;
  if (mount < 0 || label_queues(child, record, mount)) child_fail(child, STAGE_MOUNT, record->string);
  int target = target_of(child, record->string, flags);
  if (sys_move_mount(mount, target)) child_fail(child, STAGE_MOUNT, record->string);
  close(target);
  keep(child, mount, flags);
}

/* What is said of a copy: attributes, and how mounts travel, of its top or of all of it. 0, or -1. */
static int set_attributes(int tree, const struct spec_record *record) {
  uint64_t flags = spec_number(record, 1);
  unsigned all = flags & SPEC_MOUNT_RECURSIVE ? AT_RECURSIVE : 0;
  struct mount_attr attributes = {.attr_set = spec_number(record, 0)};
  struct mount_attr propagation = {.propagation = spec_number(record, 2)};
  if (sys_mount_setattr(tree, flags & SPEC_MOUNT_ATTRIBUTES_TOP ? 0 : all, &attributes)) return -1;
  return sys_mount_setattr(tree, flags & SPEC_MOUNT_PROPAGATE_ALL ? all : 0, &propagation);
}

/* Of the very thing that is mounted, whatever is called so by now. */
static void label_source(const struct child *child, const struct spec_record *record, int tree) {
  uint64_t flags = spec_number(record, 1) & (SPEC_MOUNT_LABEL | SPEC_MOUNT_LABEL_SHARED);
  const char *label = label_of(child->spec, flags & SPEC_MOUNT_LABEL_SHARED ? LABEL_SHARED : LABEL_MOUNT);
  if (flags && label && child->labels_files && label_tree(tree, label))
    child_fail(child, STAGE_RELABEL, spec_string(record, 1));
}

static void do_bind(struct child *child, const struct spec_record *record) {
  uint64_t flags = spec_number(record, 1);
  const char *target_path = record->string;
  if (record->string_count < 2) {
    errno = EINVAL;
    child_fail(child, STAGE_MOUNT, "");
  }
  int tree = is_shared(record) ? child->shared[child->shared_taken++] : open_source(child, record);
  struct stat found;
  if (tree < 0 || fstat(tree, &found)) fail_source(child, record);
  label_source(child, record, tree);
  flags = S_ISDIR(found.st_mode) ? flags & ~(uint64_t)SPEC_MOUNT_FILE : flags | SPEC_MOUNT_FILE;
  if (set_attributes(tree, record)) fail_source(child, record);
  int target = target_of(child, target_path, flags);
  if (sys_move_mount(tree, target)) child_fail(child, STAGE_MOUNT, target_path);
  close(target);
  keep(child, tree, flags);
}

static void do_device(struct child *child, const struct spec_record *record) {
  const char *name, *path = record->string;
  int parent = root_parent(child->root, path, &name, 1);
  if (parent < 0) child_fail(child, STAGE_MOUNT, path);
  mode_t mode = (mode_t)spec_number(record, 0);
  uid_t owner = (uid_t)spec_number(record, 3);
  gid_t group = (gid_t)spec_number(record, 4);
  if (mknodat(parent, name, mode, makedev(spec_number(record, 1), spec_number(record, 2)))) {
    if (errno != EEXIST) child_fail(child, STAGE_MOUNT, path); /* the image's own stays, as with runc */
  } else if ((owner || group) && fchownat(parent, name, owner, group, AT_SYMLINK_NOFOLLOW)) {
    child_fail(child, STAGE_MOUNT, path);
  }
  close(parent);
}

/* Whether the link that is there says the same already, from an earlier run. */
static int says(int parent, const char *name, const char *target) {
  char there[256];
  ssize_t length = readlinkat(parent, name, there, sizeof there);
  return length >= 0 && (size_t)length == strlen(target) && !memcmp(there, target, (size_t)length);
}

/* A file of the host's that shows in the container is never taken away: only what is in its own layer. */
static int replace(const struct child *child, int parent, const char *name, const char *target) {
  struct stat here, root;
  if (says(parent, name, target)) return 0;
  if (fstat(parent, &here) || fstat(child->root, &root)) return -1;
  if (here.st_dev != root.st_dev) {
    errno = EEXIST;
    return -1;
  }
  return unlinkat(parent, name, 0) || symlinkat(target, parent, name) ? -1 : 0;
}

static void do_symlink(struct child *child, const struct spec_record *record) {
  const char *name, *target = spec_string(record, 1);
  int replaces = !!(spec_number(record, 0) & SPEC_LINK_REPLACE);
  int parent = root_parent(child->root, record->string, &name, !replaces);
  if (parent < 0) child_fail(child, STAGE_MOUNT, record->string);
  if (symlinkat(target, parent, name) &&
      (errno != EEXIST || (replaces && replace(child, parent, name, target))))
    child_fail(child, STAGE_MOUNT, record->string);
  close(parent);
}

/* Covers the target with a copy of the mount at `source`. */
static void cover(const struct child *child, int source, int target, const char *path) {
  child_refuse_shared(child, target, path);
  int tree = sys_open_tree(source, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
  if (tree < 0 || sys_move_mount(tree, target)) child_fail(child, STAGE_MASK, path);
  close(tree);
}

/* The container's own null device, checked to be it: whatever it is called, it will be seen in place of secrets. */
static int open_null(const struct child *child) {
  struct stat found;
  int fd = root_open(child->root, "dev/null", O_PATH, 1);
  if (fd < 0 || fstat(fd, &found) || !S_ISCHR(found.st_mode) || found.st_rdev != makedev(1, 3))
    child_fail(child, STAGE_MASK, "/dev/null");
  return fd;
}

static void do_mask(struct child *child, const char *path, int *empty, int *null) {
  int target = root_open(child->root, path, O_PATH, 1);
  if (target < 0 && (errno == ENOENT || errno == ENOTDIR)) return;
  struct stat found;
  if (target < 0 || fstat(target, &found)) child_fail(child, STAGE_MASK, path);
  if (!S_ISDIR(found.st_mode)) {
    if (*null < 0) *null = open_null(child);
    cover(child, *null, target, path);
  } else if (*empty >= 0) {
    cover(child, *empty, target, path);
  } else { /* the first empty directory; the others are copies of it */
    static const char strings[] = "\0tmpfs\0size=0k\0nr_inodes=2";
    uint64_t numbers[2] = {MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, 0};
    struct spec_record tmpfs = {.number_count = 2, .number = (const uint8_t *)numbers, .string_count = 4, .string = strings};
    child_refuse_shared(child, target, path);
    *empty = new_mount(child, &tmpfs);
    if (*empty < 0 || sys_move_mount(*empty, target)) child_fail(child, STAGE_MASK, path);
  }
  close(target);
}

static int is_mount_root(int fd) {
  uint64_t found[STATX_WORDS];
  return syscall(SYS_statx, fd, "", AT_EMPTY_PATH, 0, found) == 0 && (found[STATX_ATTRIBUTES] & ATTR_MOUNT_ROOT);
}

static void do_readonly(struct child *child, const char *path) {
  int target = root_open(child->root, path, O_PATH, 1);
  if (target < 0 && (errno == ENOENT || errno == ENOTDIR)) return;
  if (target < 0) child_fail(child, STAGE_MASK, path);
  struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};
  if (is_mount_root(target)) {
    if (sys_mount_setattr(target, 0, &attributes)) child_fail(child, STAGE_MASK, path);
  } else { /* a part of a mount becomes one of its own */
    child_refuse_shared(child, target, path);
    int tree = sys_open_tree(target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    if (tree < 0 || sys_mount_setattr(tree, AT_RECURSIVE, &attributes) || sys_move_mount(tree, target))
      child_fail(child, STAGE_MASK, path);
    close(tree);
  }
  close(target);
}

static void do_file(struct child *child, const struct spec_record *record) {
  const char *label = label_of(child->spec, LABEL_SHARED);
  uint64_t mode = spec_number(record, 0);
  int begin = mode & SPEC_FILE_KEPT ? 0 : O_TRUNC;
  int fd = openat(child->run_dir, record->string, O_CREAT | begin | O_WRONLY | O_NOFOLLOW | O_CLOEXEC,
                  (mode_t)(mode & 07777));
  if (fd < 0 || write(fd, record->blob, record->blob_size) != (ssize_t)record->blob_size ||
      (label && label_file(fd, label)))
    child_fail(child, STAGE_MOUNT, record->string);
  close(fd);
}

/*
 * Docker makes a working directory that is missing, in whatever is mounted there, and even when the root is to be
 * read-only. Where it cannot be made, entering it tells why.
 */
static void make_working_directory(const struct child *child) {
  struct spec_record cwd;
  spec_find(child->spec, SPEC_CWD, &cwd);
  int fd = root_target(child->root, cwd.string, 0, 0);
  if (fd >= 0) close(fd);
}

/* Where it cannot be, it is not seen: whether that is a fault, a start says. */
static void show_own_file(const struct child *child, const struct spec_record *record) {
  int tree = record->string_count < 2 ? -1 : open_source(child, record);
  int target = tree < 0 || set_attributes(tree, record) ? -1 : root_target(child->root, record->string, 1, 0);
  if (target >= 0) {
    sys_move_mount(tree, target);
    close(target);
  }
  if (tree >= 0) close(tree);
}

void child_visible_binds(struct child *child) {
  uint32_t offset = 0;
  struct spec_record record;
  /* Before its first start a container has the files empty, in its root. */
  while (spec_next(child->spec, &offset, &record)) {
    if (!spec_is_own_file(&record)) continue;
    int place = root_target(child->root, record.string, 1, 0);
    if (place >= 0) close(place);
  }
  offset = 0;
  while (spec_next(child->spec, &offset, &record)) {
    if (spec_is_own_file(&record)) show_own_file(child, &record);
    else if (spec_is_users(&record) && record.type == SPEC_BIND) do_bind(child, &record);
  }
}

void child_mounts(struct child *child) {
  uint32_t offset = 0;
  struct spec_record record;
  int empty = -1, null = -1;
  while (spec_next(child->spec, &offset, &record)) {
    switch (record.type) {
      case SPEC_MOUNT: do_mount(child, &record); break;
      case SPEC_BIND: do_bind(child, &record); break;
      case SPEC_DEVICE: do_device(child, &record); break;
      case SPEC_SYMLINK: do_symlink(child, &record); break;
      case SPEC_FILE: do_file(child, &record); break;
      case SPEC_MASK: do_mask(child, record.string, &empty, &null); break;
      case SPEC_READONLY: do_readonly(child, record.string); break;
      default: break;
    }
  }
  if (empty >= 0) close(empty);
  if (null >= 0) close(null);
  make_working_directory(child);
  child_seal_root(child);
}
