/* Cloning the container's first process, and its way from there to the command. */
#include "container.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "root.h"
#include "sys.h"
#include "text.h"

static void describe(struct failure *failure, uint32_t stage, const char *detail) {
  *failure = (struct failure){.stage = stage, .error = errno};
  size_t length = strlen(detail);
  if (length >= sizeof failure->detail) length = sizeof failure->detail - 1;
  memcpy(failure->detail, detail, length);
}

_Noreturn void child_fail(const struct child *child, uint32_t stage, const char *detail) {
  struct failure failure;
  describe(&failure, stage, detail);
  ssize_t ignored = write(child->outcome, &failure, sizeof failure);
  (void)ignored;
  _exit(125);
}

int child_find(const struct child *child, enum spec_type type, struct spec_record *record) {
  return (child->exec && spec_find(child->exec, type, record)) || spec_find(child->spec, type, record);
}

uint64_t child_flags(const struct child *child) {
  struct spec_record flags;
  spec_find(child->exec ? child->exec : child->spec, SPEC_FLAGS, &flags);
  return spec_number(&flags, 0);
}

/* ---- the child */

enum { OUTCOME_FD = 3, GO_FD = 4, INIT_FD = 5 };

/*
 * Handlers would go with exec anyway; what is ignored or blocked would stay. By the system call itself, since the
 * library keeps 32 to 34 out of reach, and they were found ignored.
 */
static void reset_signals(void) {
  struct {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
  } action = {0};
  uint64_t none = 0;
  for (int signal = 1; signal < 65; signal++) syscall(SYS_rt_sigaction, signal, &action, 0, sizeof none);
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, 0, sizeof none);
}

static void apply_limits(const struct child *child) {
  uint32_t offset = 0;
  struct spec_record record;
  while (spec_next(child->spec, &offset, &record)) {
    if (record.type != SPEC_RLIMIT) continue;
    struct rlimit limit = {.rlim_cur = spec_number(&record, 1), .rlim_max = spec_number(&record, 2)};
    if (prlimit(0, (int)spec_number(&record, 0), &limit, 0)) child_fail(child, STAGE_LIMIT, "ulimit");
  }
  if (spec_find(child->spec, SPEC_OOM_SCORE, &record)) {
    char buffer[32];
    struct text text;
    int64_t score = (int64_t)spec_number(&record, 0);
    text_init(&text, buffer, sizeof buffer);
    if (score < 0) text_add(&text, "-");
    text_number(&text, (uint64_t)(score < 0 ? -score : score));
    if (write_file(AT_FDCWD, "/proc/self/oom_score_adj", buffer)) child_fail(child, STAGE_LIMIT, "oom_score_adj");
  }
}

/* For the next word on the go pipe. */
static void wait_for_shim(const struct child *child, void *word, size_t size) {
  ssize_t got;
  while ((got = read(child->go, word, size)) < 0 && errno == EINTR)
    ;
  if (got < 0) child_fail(child, STAGE_SECCOMP, "read"); /* a filter without it; no program would get far */
  if (got != (ssize_t)size) _exit(125); /* the shim is gone, or does not want us any more */
}

static void wait_for_groups(const struct child *child) {
  char byte;
  wait_for_shim(child, &byte, 1);
}

static void wait_for_network(struct child *child) {
  char byte;
  if (child->has_network) return;
  wait_for_shim(child, &byte, 1);
  if (child_flags(child) & SPEC_FLAG_TTY) wait_for_shim(child, &child->size, sizeof child->size);
  child->has_network = 1;
}

/* net/ipv4/conf/eth0/…: there once the network is. */
static int of_interface(const char *name) { return strstr(name, "/conf/") || strstr(name, "/neigh/"); }

/* Written through our own proc, checked to be proc, so that no image can send the write elsewhere. */
static void apply_sysctls(struct child *child) {
  uint32_t offset = 0;
  struct spec_record record;
  while (spec_next(child->spec, &offset, &record)) {
    if (record.type != SPEC_SYSCTL) continue;
    const char *name = record.string, *value = spec_string(&record, 1);
    if (of_interface(name)) wait_for_network(child);
    int fd = root_open(child->sysctl, name, O_WRONLY, 1);
    struct statfs fs;
    if (fd < 0 || fstatfs(fd, &fs) || fs.f_type != PROC_SUPER_MAGIC ||
        write(fd, value, strlen(value)) != (ssize_t)strlen(value))
      child_fail(child, STAGE_SYSCTL, name);
    close(fd);
  }
}

static void pivot(const struct child *child) {
  if (fchdir(child->root) || syscall(SYS_pivot_root, ".", ".")) child_fail(child, STAGE_PIVOT, "pivot_root");
  /* The old root now lies over the new one; away with it, and nothing of the host can be reached by name. */
  if (syscall(SYS_umount2, ".", MNT_DETACH) || chdir("/")) child_fail(child, STAGE_PIVOT, "detach the old root");
}

/* The null device of its own root, checked to be it: an exec's container may have put anything there. */
static int open_null(const struct child *child) {
  struct stat found;
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0 || fstat(fd, &found) || !S_ISCHR(found.st_mode) || found.st_rdev != makedev(1, 3))
    child_fail(child, STAGE_MOUNT, "/dev/null");
  return fd;
}

void child_take_stdio(struct child *child) {
  if (child->stdio[0] < 0) child->stdio[0] = open_null(child);
  for (int i = 0; i < 3; i++)
    if (dup2(child->stdio[i], i) < 0) child_fail(child, STAGE_SHIM, "stdio");
  /*
   * From here on there is nothing else that a path through /proc/self/fd could lead to. The copies lie above what they
   * are moved to, so that neither takes the other's place; an exec has nothing to wait for.
   */
  int *kept[] = {&child->outcome, &child->go, &child->init};
  int copies[3], last = OUTCOME_FD;
  for (int i = 0; i < 3; i++) {
    copies[i] = *kept[i] < 0 ? -1 : fcntl(*kept[i], F_DUPFD_CLOEXEC, INIT_FD + 1);
    if (*kept[i] >= 0 && copies[i] < 0) child_fail(child, STAGE_SHIM, "pipes");
  }
  for (int i = 0; i < 3; i++) {
    if (copies[i] < 0) continue;
    last = OUTCOME_FD + i;
    if (dup3(copies[i], last, O_CLOEXEC) < 0) child_fail(child, STAGE_SHIM, "pipes");
    *kept[i] = last;
  }
  if (syscall(SYS_close_range, last + 1, ~0u, 0)) child_fail(child, STAGE_SHIM, "close_range");
}

void child_take_session(const struct child *child) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setsid();
  if ((child_flags(child) & SPEC_FLAG_TTY) && ioctl(0, TIOCSCTTY, 0)) child_fail(child, STAGE_TERMINAL, "TIOCSCTTY");
}

int child_tell(const struct child *child, struct child_word content, const int *fds, unsigned count) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(CHILD_FDS_MAX * sizeof(int))];
  } control = {.header = {
                   .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(count * sizeof(int))}};
  memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
  struct iovec part = {&content, sizeof content};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(count * sizeof(int))};
  return sendmsg(child->outcome, &message, MSG_NOSIGNAL) == (ssize_t)sizeof content ? 0 : -1;
}

/* The terminal is standard input by now. */
static void apply_size(const struct child *child) {
  struct winsize window = {.ws_row = child->size.rows, .ws_col = child->size.columns};
  if (window.ws_row || window.ws_col) ioctl(0, TIOCSWINSZ, &window); /* a filter may forbid it: it is a nicety */
}

void child_begin(const struct child *child) {
  prctl(PR_SET_DUMPABLE, 0); /* nothing of the host's can be read through its /proc entry */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  reset_signals();
  child_name_security(child);
  apply_limits(child);
}

/*
 * What is joined of other containers, by a process that these cannot see: entering a pid namespace counts for the
 * children alone, and the command's process is made when nothing of the host's is left in its maker.
 */
static void join_namespaces(const struct child *child) {
  for (unsigned i = 0; i < child->loans->count; i++) {
    const struct loan *loan = &child->loans->of[i];
    if (setns(loan->process, (int)loan->namespaces)) child_fail(child, STAGE_JOIN, "setns");
  }
}

/* From here on the container can see the process, and could trace it with CAP_SYS_PTRACE. */
_Noreturn static void run_process(const struct child *child, const char *home) {
  child_take_session(child);
  apply_size(child);
  child_exec(child, home);
}

_Noreturn void child_make_process(const struct child *child, const char *home) {
  int pidfd = -1;
  /* By clone, not clone3: filters cannot see into the latter's arguments, and refuse it. */
  pid_t pid = (pid_t)syscall(SYS_clone, CLONE_PARENT | CLONE_PIDFD | SIGCHLD, 0, &pidfd, 0, 0);
  if (pid == 0) run_process(child, home);
  if (pid < 0) child_fail(child, STAGE_CLONE, "clone");
  struct child_word word = {.word = CHILD_HAS_PROCESS, .pid = pid};
  if (child_tell(child, word, &pidfd, 1)) kill(pid, SIGKILL); /* the shim has gone */
  _exit(0);
}

_Noreturn static void child_run(struct child *child) {
  struct spec_record record;
  child_begin(child);
  child_open_init(child);
  join_namespaces(child);
  umask(0);
  child_mount_root(child);
  wait_for_groups(child); /* the shim has made them meanwhile */
  child_join_groups(child);
  /* Only now: the namespace's root is the group one is in, and on v1 a later join would show the host's path. */
  spec_find(child->spec, SPEC_NAMESPACES, &record);
  if ((spec_number(&record, 0) & CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP))
    child_fail(child, STAGE_GROUP, "cgroup namespace");
  child_mounts(child);
  int terminal = child_terminal(child);
  pivot(child);
  if (spec_find(child->spec, SPEC_HOSTNAME, &record) && sethostname(record.string, strlen(record.string)))
    child_fail(child, STAGE_HOSTNAME, record.string);
  apply_sysctls(child);
  umask(022);
  for (int i = 0; terminal >= 0 && i < 3; i++) child->stdio[i] = terminal;
  child_take_stdio(child);
  const char *home = 0;
  if (loans_join(child->loans, CLONE_NEWPID)) {
    child_become_user(child, &home);
    wait_for_network(child);
    child_make_process(child, home);
  }
  child_take_session(child);
  child_become_user(child, &home);
  /* As late as can be: the agent makes the network meanwhile. */
  wait_for_network(child);
  apply_size(child);
  child_exec(child, home);
}

/* ---- the shim */

int outcome_pair(int pair[2]) {
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) return -1;
  fcntl(pair[0], F_SETFL, O_NONBLOCK);
  return 0;
}

int container_create(struct container *container, struct failure *failure) {
  const struct spec *spec = container->spec;
  struct spec_record record, flags;
  struct process *first = &container->first;
  int go[2], outcome[2], stdio[3] = {-1, -1, -1};
  const char *culprit = "";
  spec_find(spec, SPEC_FLAGS, &flags);
  uint64_t wanted = spec_number(&flags, 0);
  streams_init(&first->streams);
  struct loans loans;
  if (loans_take(spec, &loans, failure)) return loans_close(&loans), -1;
  if (pipe2(go, O_CLOEXEC) || outcome_pair(outcome)) return describe(failure, STAGE_SHIM, "pipes"), -1;
  if (!(wanted & SPEC_FLAG_TTY) && streams_make_pipes(&first->streams, !!(wanted & SPEC_FLAG_STDIN), stdio))
    return describe(failure, STAGE_SHIM, "pipes"), -1;
  if (groups_make(spec, 1, &culprit)) return describe(failure, STAGE_GROUP, culprit), -1;
  int group = groups_open(spec);
  if (group >= 0 && devices_attach(spec, group)) return describe(failure, STAGE_GROUP, "devices"), -1;

  spec_find(spec, SPEC_NAMESPACES, &record);
  int pidfd = -1;
  struct clone_args args = {
      .flags = (spec_number(&record, 0) & ~(uint64_t)CLONE_NEWCGROUP) | CLONE_PIDFD,
      .pidfd = (uint64_t)(uintptr_t)&pidfd,
      .exit_signal = SIGCHLD,
  };
  if (group >= 0) {
    args.flags |= CLONE_INTO_CGROUP;
    args.cgroup = (uint64_t)group;
  }
  pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
  if (pid < 0) return describe(failure, STAGE_CLONE, "clone3"), -1;
  if (pid == 0) {
    struct child child = {
        .spec = spec, .data_dir = -1, .run_dir = -1,
        .go = go[0], .outcome = outcome[1], .root = -1, .sysctl = -1, .devpts = -1, .proc = -1, .shm = -1, .init = -1,
        .loans = &loans, .labels_files = 1,
        .stdio = {stdio[0], stdio[1], stdio[2]},
    };
    close(go[1]); /* or our own copy would keep the pipe open when the shim is gone */
    child_run(&child);
  }
  close(go[0]);
  close(outcome[1]);
  for (int i = 0; i < 3; i++)
    if (stdio[i] >= 0) close(stdio[i]);
  if (group >= 0) close(group);
  loans_close(&loans);
  first->pid = pid;
  first->pidfd = pidfd;
  first->outcome = outcome[0];
  container->go = go[1];
  container->oom = -1;
  return 0;
}
