/*
 * The file tree of a container, as its processes see it or would see it, in a mount namespace of our own.
 *
 * Of one that runs, the mounts are copied out of its own namespace, which is entered by its pidfd for as long as that
 * takes: nothing in it is executed, and no path is looked up there but below its root. Of another one the mounts are
 * made as a start makes them. The container's proc, sys and dev are not among them, as with Docker.
 */
#include "archive.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "../include/shim.h"
#include "../shim/container.h"
#include "../shim/root.h"
#include "../shim/sys.h"

/* Devices, set-id files and programs are copied, never used. */
#define HARMLESS (MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)

/* What the shim's code says when it cannot go on. */
_Noreturn void child_fail(const struct child *child, uint32_t stage, const char *detail) {
  fail_errno("the container's file tree: '%s'", detail);
  report_failure(REPORT);
  _exit(1);
}

enum directory { DATA_DIR, RUN_DIR };

static const char *directory_of(const struct spec *spec, enum directory which) {
  struct spec_record dirs;
  spec_find(spec, SPEC_DIRS, &dirs);
  return spec_string(&dirs, which);
}

static int open_directory(const struct spec *spec, enum directory which) {
  return open(directory_of(spec, which), O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int make_harmless(int mount, uint64_t more) {
  struct mount_attr attributes = {.attr_set = HARMLESS | more, .propagation = MS_PRIVATE};
  return sys_mount_setattr(mount, AT_RECURSIVE, &attributes) ? fail_errno("the container's mounts") : 0;
}

/* Covers the container's own directory, in this namespace alone. */
static int attach_root(int mount, const struct spec *spec) {
  int over = open_directory(spec, DATA_DIR);
  if (over < 0 || sys_move_mount(mount, over)) return fail_errno("mounting the container's root");
  close(over);
  return 0;
}

/* A copy of a mount, with what is mounted in it. */
struct copy {
  int mount;
  const char *target;
};

/* What the user asked for, and the container's own hosts, hostname and resolv.conf. */
static bool is_seen(const struct spec_record *record) { return spec_is_users(record) || spec_is_own_file(record); }

/* Where one of our files was mounted, the container may have put something else. */
static bool is_mount_of(const struct spec_record *record, int fd) {
  struct statx found;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &found) < 0) return false;
  return found.stx_attributes & STATX_ATTR_MOUNT_ROOT && (spec_is_users(record) || S_ISREG(found.stx_mode));
}

/* In the container's namespace. What it has unmounted itself is no longer seen. */
static int copy_mounts(const struct spec *spec, int *root, struct copy *copies, size_t *count) {
  uint32_t offset = 0;
  struct spec_record record;
  *root = sys_open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (*root < 0 || top < 0) return fail_errno("copying the container's root");
  while (copies && spec_next(spec, &offset, &record)) {
    if (!is_seen(&record)) continue;
    int target = root_open(top, record.string, O_PATH, 0);
    if (target < 0 || !is_mount_of(&record, target)) {
      if (target >= 0) close(target);
      continue;
    }
    int mount = sys_open_tree(target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    if (mount < 0) return fail_errno("copying the mount at '%s'", record.string);
    close(target);
    copies[(*count)++] = (struct copy){mount, record.string};
  }
  close(top);
  return 0;
}

static size_t seen_mounts(const struct spec *spec) {
  uint32_t offset = 0;
  size_t count = 0;
  struct spec_record record;
  while (spec_next(spec, &offset, &record)) count += (size_t)is_seen(&record);
  return count;
}

static int enter_running(const struct spec *spec, bool with_mounts) {
  struct copy *copies = with_mounts ? calloc(seen_mounts(spec) + 1, sizeof *copies) : NULL;
  size_t count = 0;
  int root = -1, own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
  if (own < 0 || (with_mounts && !copies)) return fail_errno("our own mount namespace");
  if (setns(PROCESS, CLONE_NEWNS)) {
    if (errno == ESRCH) return fail("conflict", "the container has just ended");
    return fail_errno("entering the container's mount namespace");
  }
  int result = copy_mounts(spec, &root, copies, &count);
  if (setns(own, CLONE_NEWNS)) return fail_errno("leaving the container's mount namespace");
  close(own);
  if (result < 0 || confine_namespaces() < 0) return -1;
  if (make_harmless(root, 0) < 0 || attach_root(root, spec) < 0) return -1;
  for (size_t i = 0; i < count; i++) {
    int target = root_open(root, copies[i].target, O_PATH, 0);
    if (target < 0 || make_harmless(copies[i].mount, 0) < 0 || sys_move_mount(copies[i].mount, target))
      return fail_errno("the mount at '%s'", copies[i].target);
    close(target);
  }
  return confine_root(root);
}

static int enter_stopped(const struct spec *spec, bool with_mounts) {
  struct child child = {.spec = spec, .data_dir = -1, .run_dir = -1, .go = -1, .outcome = -1, .root = -1,
                        .sysctl = -1, .devpts = -1, .stdio = {-1, -1, -1}};
  if (confine_namespaces() < 0) return -1;
  child_mount_root(&child);
  if (with_mounts) {
    child.run_dir = open_directory(spec, RUN_DIR); /* it does not outlive a boot */
    child_visible_binds(&child);
    if (child.run_dir >= 0) close(child.run_dir);
  }
  child_seal_root(&child);
  return make_harmless(child.root, 0) < 0 ? -1 : confine_root(child.root);
}

/* What the container has written, alone; and beside it, by a descriptor, what its image has. */
static int enter_written(const struct spec *spec, int *image) {
  if (confine_namespaces() < 0) return -1;
  int own = open_directory(spec, DATA_DIR);
  if (own < 0 || (mkdirat(own, "upper", 0755) && errno != EEXIST)) return fail_errno("the container's own layer");
  int upper = sys_open_tree(own, "upper", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (upper < 0) return fail_errno("the container's own layer");
  close(own);
  *image = overlay_image(spec, directory_of(spec, DATA_DIR));
  if (*image < 0) return fail_errno("the layers of the container's image");
  if (make_harmless(upper, MOUNT_ATTR_RDONLY) < 0 || attach_root(upper, spec) < 0) return -1;
  return confine_root(upper);
}

int view_enter(const struct spec *spec, const struct options *options, int *image) {
  enum verb verb = options->verb;
  if (verb == VERB_CHANGES || verb == VERB_LAYER) return enter_written(spec, image);
  bool with_mounts = verb != VERB_EXPORT;
  return options->running ? enter_running(spec, with_mounts) : enter_stopped(spec, with_mounts);
}
