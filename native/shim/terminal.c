/* The first process's terminal: made in the container's own devpts, bound over its console, handed to the shim. */
#include <errno.h>

#include "container.h"
#include "root.h"
#include "sys.h"

static void tell_shim(const struct child *child, const int *fds, unsigned count) {
  if (child_tell(child, CHILD_HAS_DEVPTS, 0, fds, count)) child_fail(child, STAGE_TERMINAL, "devpts");
}

/* By descriptors alone: no link of the image's is followed on the way (CVE-2025-52565). */
static void bind_console(const struct child *child, int slave) {
  int tree = sys_open_tree(slave, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
  int target = tree < 0 ? -1 : root_target(child->root, "dev/console", 1, 1);
  if (target < 0 || sys_move_mount(tree, target)) child_fail(child, STAGE_TERMINAL, "/dev/console");
  close(target);
  close(tree);
}

int child_terminal(struct child *child) {
  if (child->devpts < 0) {
    errno = ENODEV;
    child_fail(child, STAGE_TERMINAL, "devpts");
  }
  if (!(child_flags(child) & SPEC_FLAG_TTY)) {
    tell_shim(child, &child->devpts, 1);
    return -1;
  }
  int master = terminal_open(child->devpts);
  int slave = master < 0 ? -1 : terminal_slave(master);
  if (slave < 0) child_fail(child, STAGE_TERMINAL, "devpts");
  bind_console(child, slave);
  int fds[2] = {child->devpts, master};
  tell_shim(child, fds, 2);
  return slave;
}
