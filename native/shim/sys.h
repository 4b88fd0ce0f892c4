/* System calls that musl does not wrap. All return -1 and set errno. */
#ifndef TESSERA_SHIM_SYS_H
#define TESSERA_SHIM_SYS_H

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../include/open_how.h"

#ifndef MNT_DETACH
#define MNT_DETACH 2
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ull
#endif

static inline int sys_open_tree(int dirfd, const char *path, unsigned flags) {
  return (int)syscall(SYS_open_tree, dirfd, path, flags);
}
static inline int sys_move_mount(int from, int to) {
  return (int)syscall(SYS_move_mount, from, "", to, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}
static inline int sys_fsopen(const char *name) { return (int)syscall(SYS_fsopen, name, FSOPEN_CLOEXEC); }
static inline int sys_fsconfig(int fd, unsigned command, const char *key, const void *value, int aux) {
  return (int)syscall(SYS_fsconfig, fd, command, key, value, aux);
}
static inline int sys_fsmount(int fd, unsigned attributes) {
  return (int)syscall(SYS_fsmount, fd, FSMOUNT_CLOEXEC, attributes);
}
static inline int sys_mount_setattr(int fd, unsigned flags, const struct mount_attr *attributes) {
  return (int)syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | flags, attributes, sizeof *attributes);
}
static inline int sys_openat2(int dirfd, const char *path, uint64_t flags, uint64_t resolve) {
  return open_how(dirfd, path, (struct open_how){.flags = flags | O_CLOEXEC, .resolve = resolve});
}
static inline int sys_pidfd_send_signal(int pidfd, int signal) {
  return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, 0, 0);
}
static inline int sys_mount(const char *source, const char *target, const char *type, unsigned long flags,
                            const void *data) {
  return (int)syscall(SYS_mount, source, target, type, flags, data);
}

#endif
