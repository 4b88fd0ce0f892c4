/* Cgroups that have to go: emptied whatever is in them, then removed with all below. */
#include "error.h"
#include "remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define TRIES 2000 /* of a millisecond: a killed process may be in the middle of a slow system call */

static void pause_ms(void) { nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); }

static int write_at(int dir, const char *name, const char *value) {
  int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  int result = write(fd, value, strlen(value)) < 0 ? -errno : 0;
  close(fd);
  return result;
}

/* Calls `visit` for every group below `dir`, deepest first. Stops at the first that fails. */
static int each_below(int dir, unsigned depth, int (*visit)(int dir, const char *name)) {
  int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0;
  DIR *listing = copy < 0 ? NULL : fdopendir(copy);
  if (!listing) return -errno;
  for (struct dirent *entry; result == 0 && (entry = readdir(listing));) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
    int child = openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (child < 0) continue; /* gone meanwhile */
    if (depth < 64) result = each_below(child, depth + 1, visit);
    close(child);
    if (result == 0) result = visit(dir, entry->d_name);
  }
  closedir(listing);
  return result;
}

static int remove_one(int dir, const char *name) {
  for (int i = 0; i < TRIES; i++) {
    if (unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return 0;
    if (errno != EBUSY) break;
    pause_ms(); /* the last process has ended but is not yet accounted for */
  }
  return -errno;
}

int rt_remove_group(const char *path) {
  /* Nearly always there is nothing below, and nothing in it. */
  if (rmdir(path) == 0 || errno == ENOENT) return 0;
  int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return errno == ENOENT ? 0 : -errno;
  int result = each_below(dir, 0, remove_one);
  close(dir);
  return result ? result : remove_one(AT_FDCWD, path);
}

/* Processes that have been killed. The list forgets a process when it begins to end: these tell when it has. */
struct killed {
  int pidfd[256];
  int count, total;
};
static _Thread_local struct killed killed;

static void kill_listed(int dir) {
  int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);
  FILE *list = fd < 0 ? NULL : fdopen(fd, "r");
  if (!list) {
    if (fd >= 0) close(fd);
    return;
  }
  for (int pid; fscanf(list, "%d", &pid) == 1;) {
    if (pid <= 0) continue; /* 0: of a pid namespace beside ours */
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) continue;
    syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    killed.total++;
    if (killed.count < 256) killed.pidfd[killed.count++] = pidfd;
    else close(pidfd);
  }
  fclose(list);
}

static void wait_for_killed(void) {
  for (int i = 0; i < killed.count; i++) {
    struct pollfd ended = {.fd = killed.pidfd[i], .events = POLLIN};
    poll(&ended, 1, 5000);
    close(killed.pidfd[i]);
  }
}

static int kill_one(int dir, const char *name) {
  int group = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (group < 0) return 0;
  kill_listed(group);
  close(group);
  return 0;
}

/* v1: frozen, nothing can fork between the reading of the list and the killing, and no pid is used again. */
static int kill_v1(int group, int frozen) {
  for (int i = 0; i < TRIES; i++) {
    killed.count = killed.total = 0;
    if (frozen) write_at(group, "freezer.state", "FROZEN");
    kill_listed(group);
    each_below(group, 0, kill_one);
    if (frozen) write_at(group, "freezer.state", "THAWED");
    wait_for_killed();
    if (killed.total == 0) return 0;
    if (killed.count < killed.total) pause_ms();
  }
  return -EBUSY;
}

static int is_empty(int group) {
  char byte[32];
  int fd = openat(group, "cgroup.events", O_RDONLY | O_CLOEXEC);
  ssize_t got = fd < 0 ? -1 : read(fd, byte, sizeof byte - 1);
  if (fd >= 0) close(fd);
  if (got <= 0) return 1;
  byte[got] = 0;
  return strstr(byte, "populated 0") != NULL;
}

int rt_group_kill(const char *path, rt_error *err) {
  int group = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (group < 0) return errno == ENOENT ? 0 : rt_fail(err, errno, "opening %s", path);
  int result = 0;
  if (faccessat(group, "cgroup.kill", F_OK, 0) == 0) {
    result = write_at(group, "cgroup.kill", "1");
    for (int i = 0; result == 0 && !is_empty(group); i++) {
      if (i == TRIES) result = -EBUSY;
      else pause_ms();
    }
  } else {
    result = kill_v1(group, faccessat(group, "freezer.state", F_OK, 0) == 0);
  }
  close(group);
  return result < 0 ? rt_fail(err, -result, "killing what is in %s", path) : 0;
}
