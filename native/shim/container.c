/* Cloning the container's first process, and its way from there to the command. */
#include "container.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>

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
  ssize_t ignored = write(child->error, &failure, sizeof failure);
  (void)ignored;
  _exit(125);
}

/* ---- the child */

enum { ERROR_FD = 3, GO_FD = 4 };

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

/* For the next byte on the go pipe. */
static void wait_for_shim(const struct child *child) {
  char byte;
  ssize_t got;
  while ((got = read(child->go, &byte, 1)) < 0 && errno == EINTR)
    ;
  if (got < 0) child_fail(child, STAGE_SECCOMP, "read"); /* a filter without it; no program would get far */
  if (got != 1) _exit(125); /* the shim is gone, or does not want us any more */
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
    if (!child->has_network && of_interface(name)) {
      wait_for_shim(child);
      child->has_network = 1;
    }
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

static void take_stdio(struct child *child) {
  if (child->stdio[0] < 0) {
    child->stdio[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct stat found;
    if (child->stdio[0] < 0 || fstat(child->stdio[0], &found) || !S_ISCHR(found.st_mode))
      child_fail(child, STAGE_MOUNT, "/dev/null");
  }
  for (int i = 0; i < 3; i++)
    if (dup2(child->stdio[i], i) < 0) child_fail(child, STAGE_SHIM, "stdio");
  /* From here on there is nothing else that a path through /proc/self/fd could lead to. */
  /* Above what they are moved to, so that neither takes the other's place. */
  int error = fcntl(child->error, F_DUPFD_CLOEXEC, GO_FD + 1), go = fcntl(child->go, F_DUPFD_CLOEXEC, GO_FD + 1);
  if (error < 0 || go < 0 || dup3(error, ERROR_FD, O_CLOEXEC) < 0 || dup3(go, GO_FD, O_CLOEXEC) < 0)
    child_fail(child, STAGE_SHIM, "pipes");
  child->error = ERROR_FD;
  child->go = GO_FD;
  if (syscall(SYS_close_range, GO_FD + 1, ~0u, 0)) child_fail(child, STAGE_SHIM, "close_range");
}

_Noreturn void child_run(struct child *child) {
  struct spec_record record;
  prctl(PR_SET_DUMPABLE, 0); /* nothing of the host's can be read through /proc/1 */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  reset_signals();
  setsid();
  umask(0);
  syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0); /* not the agent's; kernels without keys are fine */
  apply_limits(child);
  child_mount_root(child);
  wait_for_shim(child); /* it has made the groups meanwhile */
  child_join_groups(child);
  /* Only now: the namespace's root is the group one is in, and on v1 a later join would show the host's path. */
  spec_find(child->spec, SPEC_NAMESPACES, &record);
  if ((spec_number(&record, 0) & CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP))
    child_fail(child, STAGE_GROUP, "cgroup namespace");
  child_mounts(child);
  pivot(child);
  if (spec_find(child->spec, SPEC_HOSTNAME, &record) && sethostname(record.string, strlen(record.string)))
    child_fail(child, STAGE_HOSTNAME, record.string);
  apply_sysctls(child);
  umask(022);
  take_stdio(child);
  const char *home = 0;
  child_become_user(child, &home);
  /* As late as can be: the agent makes the network meanwhile. */
  if (!child->has_network) wait_for_shim(child);
  child_exec(child, home);
}

/* ---- the shim */

struct pipes {
  int go[2], error[2], output[2], error_output[2];
};

static int make_pipes(struct pipes *pipes) {
  int *all[] = {pipes->go, pipes->error, pipes->output, pipes->error_output};
  for (unsigned i = 0; i < 4; i++)
    if (pipe2(all[i], O_CLOEXEC)) return -1;
  /* Only our ends: the container's programs expect writes that wait. */
  fcntl(pipes->output[0], F_SETFL, O_NONBLOCK);
  fcntl(pipes->error_output[0], F_SETFL, O_NONBLOCK);
  fcntl(pipes->error[0], F_SETFL, O_NONBLOCK);
  return 0;
}

static int open_group(const struct spec *spec) {
  char path[GROUP_PATH_MAX];
  uint32_t offset = 0;
  struct spec_record record;
  while (spec_next(spec, &offset, &record))
    if (record.type == SPEC_GROUP && (spec_number(&record, 0) & SPEC_GROUP_CLONE_INTO) &&
        group_path(spec, record.string, "", path) == 0)
      return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return -1;
}

int container_create(struct container *container, struct failure *failure) {
  const struct spec *spec = container->spec;
  struct spec_record record;
  struct pipes pipes;
  const char *culprit = "";
  if (make_pipes(&pipes)) return describe(failure, STAGE_SHIM, "pipes"), -1;
  if (groups_make(spec, 1, &culprit)) return describe(failure, STAGE_GROUP, culprit), -1;
  int group = open_group(spec);
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
        .go = pipes.go[0], .error = pipes.error[1], .root = -1, .sysctl = -1,
        .stdio = {-1, pipes.output[1], pipes.error_output[1]},
    };
    close(pipes.go[1]); /* or our own copy would keep the pipe open when the shim is gone */
    child_run(&child);
  }
  close(pipes.go[0]);
  close(pipes.error[1]);
  close(pipes.output[1]);
  close(pipes.error_output[1]);
  if (group >= 0) close(group);
  container->pid = pid;
  container->pidfd = pidfd;
  container->go = pipes.go[1];
  container->error = pipes.error[0];
  container->output = pipes.output[0];
  container->error_output = pipes.error_output[0];
  container->oom = -1;
  return 0;
}
