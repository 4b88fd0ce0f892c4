#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int confine_namespaces(void) {
  if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID) < 0)
    return fail_errno("making namespaces");
  return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ? fail_errno("making mounts private") : 0;
}

int confine_root(int fd) {
  if (fchdir(fd) < 0) return fail_errno("entering the new root");
  // Both arguments the same: the old root comes to lie on top of the new one and is detached (pivot_root(2)).
  if (syscall(SYS_pivot_root, ".", ".") < 0) return fail_errno("changing the root");
  if (umount2(".", MNT_DETACH) < 0) return fail_errno("leaving the old root");
  return chdir("/") < 0 ? fail_errno("entering the new root") : 0;
}

int confine_to_directory(const char *path) {
  if (mount(path, path, NULL, MS_BIND, NULL) < 0) return fail_errno("binding %s", path);
  // Devices and set-id files are made, never used.
  if (mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
    return fail_errno("binding %s", path);
  int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return fail_errno("entering %s", path);
  int result = confine_root(fd);
  close(fd);
  return result;
}

static int limit(int resource, rlim_t value) {
  struct rlimit now, wanted = {value, value};
  if (getrlimit(resource, &now) < 0) return fail_errno("limits");
  if (now.rlim_max < value) wanted.rlim_cur = wanted.rlim_max = now.rlim_max;
  return setrlimit(resource, &wanted) < 0 ? fail_errno("limits") : 0;
}

int confine_limits(const struct confinement *confinement) {
  // A directory tree as deep as PATH_MAX allows is removed with one descriptor a level.
  if (limit(RLIMIT_NOFILE, 4096) < 0 || limit(RLIMIT_CORE, 0) < 0) return -1;
  if (confinement->file_max && limit(RLIMIT_FSIZE, confinement->file_max) < 0) return -1;
  return confinement->memory_max ? limit(RLIMIT_AS, confinement->memory_max) : 0;
}

static const unsigned KEPT[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_SETFCAP};

int confine_capabilities(void) {
  uint64_t kept = 0;
  for (size_t i = 0; i < sizeof KEPT / sizeof *KEPT; i++) kept |= 1ull << KEPT[i];
  for (unsigned cap = 0; cap < 64; cap++) {
    if (kept >> cap & 1) continue;
    if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
      return fail_errno("capability bounding set");
  }
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) return fail_errno("capabilities");
  if (setgroups(0, NULL) < 0) return fail_errno("groups");
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {
      {(uint32_t)kept, (uint32_t)kept, 0},
      {(uint32_t)(kept >> 32), (uint32_t)(kept >> 32), 0},
  };
  return syscall(SYS_capset, &header, data) < 0 ? fail_errno("capabilities") : 0;
}

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "no seccomp list for this architecture"
#endif

/* What archives need: descriptors at hand, names below the root, memory, and the end. */
static const int ALLOWED[] = {
    SYS_read, SYS_write, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_lseek, SYS_close, SYS_fcntl, SYS_fstat,
    SYS_newfstatat, SYS_statx, SYS_openat, SYS_openat2, SYS_getdents64, SYS_faccessat, SYS_faccessat2,
    SYS_readlinkat, SYS_chdir, SYS_fchdir, SYS_mkdirat, SYS_mknodat, SYS_linkat, SYS_symlinkat, SYS_unlinkat,
    SYS_fchown, SYS_fchownat, SYS_fchmod, SYS_fchmodat, SYS_utimensat, SYS_ftruncate, SYS_lsetxattr, SYS_fsetxattr,
    SYS_fgetxattr, SYS_flistxattr, SYS_fstatfs, SYS_fadvise64, SYS_sendmsg, SYS_recvmsg, SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_futex, SYS_getrandom,
    SYS_clock_gettime, SYS_ppoll, SYS_getpid, SYS_gettid, SYS_tgkill, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn,
    SYS_exit, SYS_exit_group,
#if defined(__x86_64__)
    // The calls without a directory, which the C library prefers where they exist.
    SYS_open, SYS_poll, SYS_stat, SYS_lstat, SYS_access, SYS_mkdir, SYS_mknod, SYS_link, SYS_symlink, SYS_unlink, SYS_rmdir,
    SYS_chown, SYS_lchown, SYS_chmod, SYS_readlink,
#endif
};

static int filter_calls(void) {
  enum { COUNT = sizeof ALLOWED / sizeof *ALLOWED };
  struct sock_filter program[COUNT + 6];
  unsigned short n = 0;
  program[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
  program[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
  program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  program[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (int i = 0; i < COUNT; i++)
    program[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)ALLOWED[i],
                                                (unsigned char)(COUNT - i), 0);
  program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
  program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog filter = {n, program};
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) < 0 ? fail_errno("seccomp") : 0;
}

int confine_process(const struct confinement *confinement) {
  if (confine_limits(confinement) < 0 || confine_capabilities() < 0) return -1;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return fail_errno("no_new_privs");
  return filter_calls();
}
