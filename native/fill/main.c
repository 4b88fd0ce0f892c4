/*
 * ts-fill --parent=PID [--memory-max=BYTES] STAGE DATA [EMPTY TARGET BASE LAYER...]; without an image it only finishes a
 * copy that an earlier one left.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../include/open_how.h"
#include "../confine/confine.h"
#include "fill.h"

#define RENAME_NOREPLACE 1

static int is_stage(const char *name) { return !strcmp(name, FILL_STAGE) || !strcmp(name, FILL_STAGE_NEW); }

static int open_directory(int at, const char *path) {
  int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return fd < 0 ? fail_errno("opening %s", path) : fd;
}

/* 1: nothing is in it but stages; 0; -1 after fail(). */
static int is_empty(int dir) {
  int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), empty = 1;
  DIR *listing = again < 0 ? NULL : fdopendir(again);
  if (!listing) return fail_errno("listing the volume");
  for (struct dirent *entry; empty && (entry = readdir(listing));)
    empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") || is_stage(entry->d_name);
  closedir(listing);
  return empty;
}

/* What somebody has put there meanwhile stays. */
static int move_entries(int from, int to) {
  int again = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0;
  DIR *listing = again < 0 ? NULL : fdopendir(again);
  if (!listing) return fail_errno("listing the copy");
  for (struct dirent *entry; result == 0 && (entry = readdir(listing));) {
    const char *name = entry->d_name;
    if (!strcmp(name, ".") || !strcmp(name, "..") || is_stage(name)) continue;
    if (syscall(SYS_renameat2, from, name, to, name, RENAME_NOREPLACE) && errno != EEXIST)
      result = fail_errno("moving '%.200s' into the volume", name);
  }
  closedir(listing);
  return result;
}

/* Goes on with a copy that is whole. */
static int finish(int stage, int data) {
  int whole = openat(stage, FILL_STAGE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (whole < 0) return errno == ENOENT ? 0 : fail_errno("opening the copy");
  int result = move_entries(whole, data);
  /* After the entries: each of them changes the time. */
  if (result == 0) result = copy_attributes(whole, data, "the volume");
  if (result == 0 && syncfs(data)) result = fail_errno("writing the volume to disk");
  close(whole);
  return result < 0 ? -1 : remove_tree(stage, FILL_STAGE);
}

/* 0: copied, or there is nothing to copy. */
static int copy_image(int stage, int data, int root, const char *target) {
  while (*target == '/') target++;
  struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                         .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  int source = open_how(root, *target ? target : ".", how);
  if (source < 0 && errno == ENOENT) return 0;
  if (source < 0 && errno == ENOTDIR)
    return fail(KIND_INTERNAL, "cannot mount volume over existing file, file exists /%s", target);
  if (source < 0) return fail_errno("opening '/%.200s' of the image", target);
  if (mkdirat(stage, FILL_STAGE_NEW, 0700)) return fail_errno("making the copy");
  int copy = open_directory(stage, FILL_STAGE_NEW);
  /* What is made in it inherits the volume's label, which would not be looked at again. */
  if (copy < 0 || copy_label(data, copy) < 0) return -1;
  if (copy_tree(source, copy) < 0 || copy_attributes(source, copy, target) < 0) return -1;
  /* On the disk before it counts as whole. */
  if (syncfs(copy)) return fail_errno("writing the copy to disk");
  return renameat(stage, FILL_STAGE_NEW, stage, FILL_STAGE) ? fail_errno("keeping the copy") : 0;
}

static int run(int count, char **arguments) {
  if (count != 3 && count < 7) return fail(KIND_INTERNAL, "usage: ts-fill STAGE DATA [EMPTY TARGET BASE LAYER...]");
  int stage = open_directory(AT_FDCWD, arguments[1]);
  int data = stage < 0 ? -1 : open_directory(AT_FDCWD, arguments[2]);
  if (data < 0) return -1;
  /* One that an earlier agent started may still be ending. */
  if (flock(stage, LOCK_EX | LOCK_NB)) {
    /* Nor is a container's program waited for, where the volume is a mount of its own: the agent tries again. */
    if (errno == EWOULDBLOCK) return fail("unavailable", "the volume's directory is locked by somebody else");
    return fail_errno("locking the volume");
  }
  int root = count == 3 ? 0 : open_image(arguments[5], arguments[3], arguments + 6);
  if (root < 0 || confine_capabilities() < 0) return -1;
  if (remove_tree(stage, FILL_STAGE_NEW) < 0 || finish(stage, data) < 0) return -1;
  if (count == 3) return 0;
  int empty = is_empty(data);
  if (empty <= 0) return empty;
  return copy_image(stage, data, root, arguments[4]) < 0 ? -1 : finish(stage, data);
}

int main(int count, char **arguments) {
  struct confinement confinement = {0};
  umask(0);
  /* It ends with the agent, whose next life begins it again. */
  prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0);
  for (; count > 1 && !strncmp(arguments[1], "--", 2); count--, arguments++) {
    static const char memory_max[] = "--memory-max=";
    /* The parent, which the agent gives every helper, is known by the signal above. */
    if (!strncmp(arguments[1], memory_max, sizeof memory_max - 1))
      confinement.memory_max = strtoull(arguments[1] + sizeof memory_max - 1, NULL, 10);
  }
  if (confine_limits(&confinement) < 0 || run(count, arguments) < 0) {
    report_failure(1);
    return 1;
  }
  static const char done[] = "{\"ok\":true}\n";
  report_line(1, done, sizeof done - 1);
  return 0;
}
