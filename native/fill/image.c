/* An image's files as one tree, for reading alone. */
#include "fill.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../confine/confine.h"

static int by_parts(const char *empty, char *const *layers) {
  int fs = (int)syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC);
  if (fs < 0) return -1;
  int result = 0;
  for (; *layers && result == 0; layers++)
    result = (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "lowerdir+", *layers, 0);
  /* An overlay without an upper directory wants two layers at least. */
  if (result == 0) result = (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "lowerdir+", empty, 0);
  if (result == 0) result = (int)syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
  int mount = result == 0 ? (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY) : -1;
  int error = errno;
  close(fs);
  errno = error;
  return mount;
}

/* For kernels before 6.5: everything in one page of options. */
static int by_options(const char *empty, char *const *layers) {
  char options[4096] = "lowerdir=";
  size_t length = strlen(options);
  for (; *layers; layers++) {
    size_t more = strlen(*layers);
    if (length + more + 1 + strlen(empty) >= sizeof options) {
      errno = E2BIG;
      return -1;
    }
    memcpy(options + length, *layers, more);
    length += more;
    options[length++] = ':';
  }
  strcpy(options + length, empty);
  if (mount("overlay", empty, "overlay", MS_RDONLY, options)) return -1;
  return open(empty, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

int open_image(const char *base, const char *empty, char *const *layers) {
  if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
    return fail_errno("making a mount namespace");
  if (chdir(base)) return fail_errno("entering %s", base);
  int root = by_parts(empty, layers);
  if (root < 0) root = by_options(empty, layers);
  return root < 0 ? fail_errno("mounting the image's layers") : root;
}
