/* Giving up what the command must not have: users, capabilities, system calls. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "container.h"
#include "sys.h"
#include "text.h"
#include "user.h"

/* A file of the image, now our root: no magic link, no device, no pipe that would make us wait. */
static int open_database(const char *path) {
  struct stat found;
  int fd = sys_openat2(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, RESOLVE_NO_MAGICLINKS);
  if (fd >= 0 && (fstat(fd, &found) || !S_ISREG(found.st_mode))) {
    close(fd);
    return -1;
  }
  return fd;
}

static void refuse_user(const struct child *child, enum user_error error, const char *culprit) {
  errno = error == USER_RANGE ? ERANGE : ENOENT;
  child_fail(child, error == USER_UNKNOWN_GROUP ? STAGE_GROUPS : STAGE_USER, culprit);
}

static void resolve(const struct child *child, struct user *user) {
  struct spec_record record, groups;
  char buffer[256];
  const char *culprit;
  child_find(child, SPEC_USER, &record);
  int more = spec_find(child->spec, SPEC_GROUPS, &groups) && groups.string_count > 0;
  int passwd = open_database("/etc/passwd"), group = open_database("/etc/group");
  enum user_error error = user_resolve(record.string, passwd, group, user, buffer, &culprit);
  if (error) refuse_user(child, error, culprit);
  const char *name = more ? groups.string : "";
  for (uint32_t i = 0; more && i < groups.string_count; i++, name = spec_string_after(name))
    if ((error = user_add_group(name, group, user))) refuse_user(child, error, name);
  if (passwd >= 0) close(passwd);
  if (group >= 0) close(group);
}

static void install_filter(const struct child *child) {
  struct spec_record record;
  if (!spec_find(child->spec, SPEC_SECCOMP, &record)) return;
  struct sock_fprog program = {
      .len = (unsigned short)(record.blob_size / sizeof(struct sock_filter)),
      .filter = (struct sock_filter *)(uintptr_t)record.blob,
  };
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, (unsigned)spec_number(&record, 0), &program))
    child_fail(child, STAGE_SECCOMP, "seccomp");
}

static void set_capabilities(const struct child *child, uint64_t permitted) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2] = {
      {.effective = (uint32_t)permitted, .permitted = (uint32_t)permitted},
      {.effective = (uint32_t)(permitted >> 32), .permitted = (uint32_t)(permitted >> 32)},
  };
  if (syscall(SYS_capset, &header, data)) child_fail(child, STAGE_CREDENTIALS, "capabilities");
}

/* Drops every capability the kernel knows and the set lacks; a set of none drops them all. */
static void cut_bounding_set(const struct child *child, uint64_t bounding) {
  for (unsigned capability = 0; capability < 64; capability++) {
    if (bounding >> capability & 1) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)) {
      if (errno == EINVAL) return; /* past the kernel's last one */
      child_fail(child, STAGE_CREDENTIALS, "bounding set");
    }
  }
}

static void enter_directory(const struct child *child, const char *path) {
  /* A directory reached through a leaked descriptor has no path here: getcwd gives "(unreachable)…". */
  char real[4096];
  if (chdir(path)) child_fail(child, STAGE_CWD, path);
  long length = syscall(SYS_getcwd, real, sizeof real);
  if (length <= 0 || real[0] != '/') {
    errno = length <= 0 ? errno : EXDEV;
    child_fail(child, STAGE_CWD, path);
  }
}

void child_become_user(const struct child *child, const char **home) {
  static struct user user;
  struct spec_record record, flags, cwd;
  child_find(child, SPEC_CAPABILITIES, &record);
  spec_find(child->spec, SPEC_FLAGS, &flags);
  child_find(child, SPEC_CWD, &cwd);
  uint64_t bounding = spec_number(&record, 0), ambient = spec_number(&record, 1);
  int no_new_privileges = !!(spec_number(&flags, 0) & SPEC_FLAG_NO_NEW_PRIVILEGES);
  resolve(child, &user);
  /* Programs reopen /dev/stdout; the pipes belong to the user as a terminal would. The null device does not. */
  int own_input = !!(child_flags(child) & (SPEC_FLAG_STDIN | SPEC_FLAG_TTY));
  if (fchown(1, user.uid, (gid_t)-1) || fchown(2, user.uid, (gid_t)-1) ||
      (own_input && fchown(0, user.uid, (gid_t)-1)))
    child_fail(child, STAGE_CREDENTIALS, "stdio");

  /* Without no_new_privs a filter needs CAP_SYS_ADMIN, so it must be in before capabilities go. */
  if (!no_new_privileges) install_filter(child);
  cut_bounding_set(child, bounding);
  if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)) child_fail(child, STAGE_CREDENTIALS, "keep capabilities");
  /* The first group as well: a program that takes another would leave it, and what is closed to that group opens. */
  gid_t groups[USER_GROUPS_MAX + 1] = {user.gid};
  uint32_t count = 1;
  for (uint32_t i = 0; i < user.group_count; i++)
    if (user.groups[i] != user.gid) groups[count++] = user.groups[i];
  if (syscall(SYS_setgroups, count, groups) || syscall(SYS_setresgid, user.gid, user.gid, user.gid) ||
      syscall(SYS_setresuid, user.uid, user.uid, user.uid))
    child_fail(child, STAGE_CREDENTIALS, "user");
  prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  set_capabilities(child, user.uid == 0 ? bounding : ambient);
  if (no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    child_fail(child, STAGE_CREDENTIALS, "no_new_privs");
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* the change of user took it away */
  enter_directory(child, cwd.string);
  if (no_new_privileges) install_filter(child);
  *home = user.home;
}
