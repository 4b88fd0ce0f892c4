/* The first process's terminal: made in the container's own devpts, bound over its console, handed to the shim. */
#include <errno.h>

#include "container.h"
#include "root.h"
#include "sys.h"

/* @param master -1 where there is no terminal */
static void tell_shim(const struct child *child, int master) {
  struct child_word word = {.word = CHILD_HAS_MOUNTS, .has_shm = child->shm >= 0, .has_terminal = master >= 0};
  int fds[CHILD_FDS_MAX] = {child->devpts, child->proc};
  unsigned count = 2;
  if (word.has_shm) fds[count++] = child->shm;
  if (word.has_terminal) fds[count++] = master;
  if (child_tell(child, word, fds, count)) child_fail(child, STAGE_TERMINAL, "devpts");
}

/* By descriptors alone: no link of the image's is followed on the way (CVE-2025-52565). */
static void bind_console(const struct child *child, int slave) {
  int tree = sys_open_tree(slave, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
  int target = tree < 0 ? -1 : root_target(child->root, "dev/console", 1, 1);
  if (target < 0) child_fail(child, STAGE_TERMINAL, "/dev/console");
  child_refuse_shared(child, target, "/dev/console");
  if (sys_move_mount(tree, target)) child_fail(child, STAGE_TERMINAL, "/dev/console");
  close(target);
  close(tree);
}

int child_terminal(struct child *child) {
  if (child->devpts < 0 || child->proc < 0) {
    errno = ENODEV;
    child_fail(child, STAGE_TERMINAL, "devpts");
  }
  if (!(child_flags(child) & SPEC_FLAG_TTY)) {
    tell_shim(child, -1);
    return -1;
  }
  int master = terminal_open(child->devpts);
  int slave = master < 0 ? -1 : terminal_slave(master);
  if (slave < 0) child_fail(child, STAGE_TERMINAL, "devpts");
  bind_console(child, slave);
  tell_shim(child, master);
  return slave;
}
