import type { SeccompRule } from '@tessera/native';

// The default profile, as data: an allow-list with the same calls as Docker's.
// Source: moby/profiles, seccomp/default.json, as of 2025-12. Whatever is not named fails with EPERM.

const words = (text: string): string[] => text.trim().split(/\s+/);

const ALWAYS = words(`
  accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime
  clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
  clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
  epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
  exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
  fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
  fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait
  futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid
  getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom
  getresgid getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt
  get_thread_area gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init
  inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64
  ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset
  landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr
  _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret
  mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open
  mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget
  msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat
  openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64
  prctl pread64 preadv preadv2 prlimit64 process_mrelease process_vm_readv process_vm_writev pselect6
  pselect6_time64 ptrace pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg
  recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall
  rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
  rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max
  sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity
  sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
  semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid
  setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid
  setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address
  setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask
  sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync
  sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime
  timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
  timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat
  utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev
`);

/** Calls that a capability brings. */
const BY_CAPABILITY: Readonly<Record<string, readonly string[]>> = {
  DAC_READ_SEARCH: words('open_by_handle_at'),
  SYS_ADMIN: words(`
    bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
    lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname
    sethostname setns syslog umount umount2 unshare
  `),
  SYS_BOOT: words('reboot'),
  SYS_CHROOT: words('chroot'),
  SYS_MODULE: words('delete_module init_module finit_module'),
  SYS_PACCT: words('acct'),
  SYS_PTRACE: words('kcmp pidfd_getfd process_madvise'),
  SYS_RAWIO: words('iopl ioperm'),
  SYS_TIME: words('settimeofday stime clock_settime clock_settime64'),
  SYS_TTY_CONFIG: words('vhangup'),
  SYS_NICE: words('get_mempolicy mbind set_mempolicy set_mempolicy_home_node'),
  SYSLOG: words('syslog'),
  BPF: words('bpf'),
  PERFMON: words('perf_event_open'),
};

const BY_ARCH: Readonly<Record<'x64' | 'arm64', readonly string[]>> = {
  x64: words('arch_prctl modify_ldt'),
  arm64: words('arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls'),
};

/** All families but those known for holes in the kernel: AF_ALG (38), AF_VSOCK (40) and relics. */
const SOCKET_FAMILIES_BELOW = 12;
const SOCKET_FAMILIES = [
  13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44, 45,
];

/** PER_LINUX, PER_LINUX32, both with UNAME26, and the question what it is. */
const PERSONALITIES = [0, 8, 0x20000, 0x20008, 0xffffffff];

/** CLONE_NEW* flags: mount, cgroup, uts, ipc, user, pid, net. */
const CLONE_NAMESPACES = 0x7e020000;
const ENOSYS = 38;

/** @param capabilities names without `CAP_` */
export function defaultRules(capabilities: ReadonlySet<string>, arch: 'x64' | 'arm64'): SeccompRule[] {
  const names = new Set([...ALWAYS, ...BY_ARCH[arch]]);
  for (const capability of capabilities) for (const name of BY_CAPABILITY[capability] ?? []) names.add(name);
  return [
    ...[...names].map((name) => ({ name })),
    { name: 'socket', args: [{ index: 0, op: 'lt', value: SOCKET_FAMILIES_BELOW }] },
    ...SOCKET_FAMILIES.map(
      (value): SeccompRule => ({ name: 'socket', args: [{ index: 0, op: 'eq', value }] }),
    ),
    ...PERSONALITIES.map(
      (value): SeccompRule => ({ name: 'personality', args: [{ index: 0, op: 'eq', value }] }),
    ),
    ...(capabilities.has('SYS_ADMIN') ? [] : withoutNamespaces()),
  ];
}

/** clone3 keeps its flags in memory, where no filter sees them: programs then fall back to clone. */
const withoutNamespaces = (): SeccompRule[] => [
  { name: 'clone', args: [{ index: 0, op: 'maskedEq', value: 0, mask: CLONE_NAMESPACES }] },
  { name: 'clone3', errno: ENOSYS },
];

/**
 * Calls younger than the oldest libseccomp we meet (2.5.4 ends at Linux 5.17). From 424 on a call has one number on
 * every architecture. Source: linux, scripts/syscall.tbl.
 */
export const YOUNG_CALLS: Readonly<Record<string, number>> = {
  cachestat: 451,
  fchmodat2: 452,
  map_shadow_stack: 453,
  futex_wake: 454,
  futex_wait: 455,
  futex_requeue: 456,
  statmount: 457,
  listmount: 458,
  lsm_get_self_attr: 459,
  lsm_set_self_attr: 460,
  lsm_list_modules: 461,
  mseal: 462,
  setxattrat: 463,
  getxattrat: 464,
  listxattrat: 465,
  removexattrat: 466,
};
/**
 * i386 calls that once were parts of socketcall and ipc and now have numbers too, which libseccomp does not tell.
 * Source: linux, arch/x86/entry/syscalls/syscall_32.tbl.
 */
export const X86_DIRECT: Readonly<Record<string, number>> = {
  recvmmsg: 337,
  sendmmsg: 345,
  socket: 359,
  socketpair: 360,
  bind: 361,
  connect: 362,
  listen: 363,
  accept4: 364,
  getsockopt: 365,
  setsockopt: 366,
  getsockname: 367,
  getpeername: 368,
  sendto: 369,
  sendmsg: 370,
  recvfrom: 371,
  recvmsg: 372,
  shutdown: 373,
  semget: 393,
  semctl: 394,
  shmget: 395,
  shmctl: 396,
  shmat: 397,
  shmdt: 398,
  msgget: 399,
  msgsnd: 400,
  msgrcv: 401,
  msgctl: 402,
};

/** Calls after it did not exist when the profile was written: ENOSYS, so that libraries fall back. */
export const LAST_CALL = 466;
