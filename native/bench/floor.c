/*
 * floor ROOT DIR COUNT BRIDGE NAME: what the kernel itself takes to start a container and to take it away. Each round:
 * a process in namespaces of its own (pid mnt uts ipc net cgroup), an overlay root with proc, a tmpfs /dev with its
 * nodes, pivot_root, a veth on BRIDGE with address and route, five v1 cgroups or one v2 cgroup, /bin/true executed,
 * waited for, and everything removed. Prints the milliseconds of each round.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

static const char *const CONTROLLERS[] = {"memory", "cpu", "pids", "devices", "freezer"};
enum { V1_GROUPS = 5, WARM_UP = 5 };

struct round {
  const char *root, *name;
  unsigned number;
  char dir[512], at[512];
  int go[2], executed[2];
};

static int is_v2(void) { return access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0; }

static void group_path(char path[256], const char *controller, const struct round *round) {
  snprintf(path, 256, "/sys/fs/cgroup/%s%s%s-%u", controller, *controller ? "/" : "", round->name, round->number);
}

static void make_devices(void) {
  static const struct { const char *path; int major, minor; } nodes[] = {
      {"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7}, {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0}};
  for (unsigned i = 0; i < sizeof nodes / sizeof *nodes; i++)
    if (mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor))) die(nodes[i].path);
}

_Noreturn static void container(const struct round *round) {
  char byte;
  close(round->go[1]);
  if (mount(0, "/", 0, MS_REC | MS_PRIVATE, 0)) die("private");
  mount_overlay(round->root, round->dir, round->at);
  if (chdir(round->at)) die("chdir");
  if (mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0)) die("proc");
  if (mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755")) die("dev");
  make_devices();
  if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/")) die("pivot_root");
  sethostname("floor", 5);
  if (read(round->go[0], &byte, 1) != 1) die("go");
  if (unshare(CLONE_NEWCGROUP)) die("cgroup namespace");
  set_address(route_socket(), round->number);
  execl("/bin/true", "true", (char *)0);
  die("exec");
}

static int make_v2_group(struct clone_args *args, const struct round *round) {
  char path[256];
  if (!is_v2()) return -1;
  group_path(path, "", round);
  if (mkdir(path, 0755)) die(path);
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  args->flags |= CLONE_INTO_CGROUP;
  args->cgroup = (unsigned)fd;
  return fd;
}

static void join_v1_groups(const struct round *round, pid_t pid) {
  char path[256], file[300], text[16];
  snprintf(text, sizeof text, "%d", (int)pid);
  for (int i = 0; i < V1_GROUPS; i++) {
    group_path(path, CONTROLLERS[i], round);
    if (mkdir(path, 0755)) die(path);
    snprintf(file, sizeof file, "%s/cgroup.procs", path);
    put(file, text);
  }
}

static void remove_groups(const struct round *round) {
  char path[256];
  for (int i = 0; i < (is_v2() ? 1 : V1_GROUPS); i++) {
    group_path(path, is_v2() ? "" : CONTROLLERS[i], round);
    while (rmdir(path)) {
      if (errno != EBUSY) die(path);
      usleep(100);
    }
  }
}

static double run(struct round *round, int route, int bridge) {
  double began = now_ms();
  char link[32], byte;
  if (pipe2(round->go, O_CLOEXEC) || pipe2(round->executed, O_CLOEXEC)) die("pipe");
  struct clone_args args = {
      .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET, .exit_signal = SIGCHLD};
  int group = make_v2_group(&args, round);
  pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
  if (pid < 0) die("clone3");
  if (pid == 0) container(round);
  link_name(link, round->name, round->number);
  make_veth(route, link, bridge, pid);
  if (group < 0) join_v1_groups(round, pid);
  if (write(round->go[1], "g", 1) != 1) die("go");
  close(round->executed[1]);
  if (read(round->executed[0], &byte, 1) < 0) die("executed");
  int status;
  if (waitpid(pid, &status, 0) != pid || status) die("the container failed");
  if (group >= 0) close(group);
  remove_groups(round);
  remove_overlay(round->dir);
  close(round->go[0]), close(round->go[1]), close(round->executed[0]);
  return now_ms() - began;
}

int main(int argc, char **argv) {
  if (argc != 6) return fprintf(stderr, "usage: floor ROOT DIR COUNT BRIDGE NAME\n"), 2;
  int route = route_socket(), bridge = (int)if_nametoindex(argv[4]);
  for (int i = -WARM_UP; i < atoi(argv[3]); i++) {
    struct round round = {.root = argv[1], .name = argv[5], .number = (unsigned)(i + WARM_UP)};
    snprintf(round.dir, sizeof round.dir, "%s/%s-%u", argv[2], round.name, round.number);
    snprintf(round.at, sizeof round.at, "%s/%s-merged", argv[2], round.name);
    double took = run(&round, route, bridge);
    if (i >= 0) printf("%.3f\n", took);
  }
  return 0;
}
