#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../shim/user.h"
#include "check.h"

static int file_of(const char *content, size_t size) {
  int fd = memfd_create("file", 0);
  CHECK(write(fd, content, size) == (ssize_t)size);
  return fd;
}

static const char PASSWD[] =
    "root:x:0:0:root:/root:/bin/sh\n"
    "broken line\n"
    ":x:5:5::/:\n"
    "negative:x:-1:0::/:\n"
    "huge:x:4294967296:0::/:\n"
    "app:x:1000:1001:App:/home/app:/bin/sh\n"
    "short:x:12:13\n"
    "last:x:7:8::/last:";
static const char GROUP[] = "root:x:0:\napp:x:1001:\nextra:x:1002:other,app\nmore:x:1003:app\nwheel:x:10:apple,root\n";

static enum user_error resolve(const char *spec, struct user *user) {
  char buffer[256];
  const char *culprit;
  int passwd = file_of(PASSWD, sizeof PASSWD - 1), group = file_of(GROUP, sizeof GROUP - 1);
  enum user_error error = user_resolve(spec, passwd, group, user, buffer, &culprit);
  CHECK(strlen(culprit) < 256);
  close(passwd);
  close(group);
  return error;
}

static void test_resolving(void) {
  struct user user;
  CHECK(resolve("", &user) == USER_OK && user.uid == 0 && user.gid == 0 && !strcmp(user.home, "/root"));
  CHECK(user.group_count == 1 && user.groups[0] == 10);
  CHECK(resolve("app", &user) == USER_OK && user.uid == 1000 && user.gid == 1001 && !strcmp(user.home, "/home/app"));
  CHECK(user.group_count == 2 && user.groups[0] == 1002 && user.groups[1] == 1003);
  CHECK(resolve("1000", &user) == USER_OK && user.gid == 1001 && user.group_count == 2);
  CHECK(resolve("4711", &user) == USER_OK && user.uid == 4711 && user.gid == 0 && !strcmp(user.home, "/"));
  CHECK(resolve("4711:12", &user) == USER_OK && user.gid == 12 && user.group_count == 0);
  CHECK(resolve("app:extra", &user) == USER_OK && user.gid == 1002 && user.group_count == 0);
  CHECK(resolve("short", &user) == USER_OK && user.uid == 12 && user.gid == 13);
  CHECK(resolve("last", &user) == USER_OK && user.uid == 7 && !strcmp(user.home, "/last"));
  CHECK(resolve(":extra", &user) == USER_OK && user.uid == 0 && user.gid == 1002);
}

static void test_refusing(void) {
  struct user user;
  CHECK(resolve("nobody", &user) == USER_UNKNOWN);
  CHECK(resolve("negative", &user) == USER_UNKNOWN);
  CHECK(resolve("huge", &user) == USER_UNKNOWN);
  CHECK(resolve("-1", &user) == USER_UNKNOWN);
  CHECK(resolve("2147483647", &user) == USER_OK);
  CHECK(resolve("2147483648", &user) == USER_RANGE); /* CVE-2024-40635 */
  CHECK(resolve("4294967296", &user) == USER_RANGE);
  CHECK(resolve("99999999999999999999999999", &user) == USER_RANGE);
  CHECK(resolve("0:4294967296", &user) == USER_RANGE);
  CHECK(resolve("app:none", &user) == USER_UNKNOWN_GROUP);
  char longest[1000];
  memset(longest, 'x', sizeof longest - 1);
  longest[sizeof longest - 1] = 0;
  CHECK(resolve(longest, &user) == USER_UNKNOWN);
}

/* Files no one would write by hand: endless lines, no newline, NULs, endless members. */
static void test_odd_files(void) {
  size_t size = 3 << 20;
  char *content = malloc(size), buffer[256];
  const char *culprit;
  struct user user;
  memset(content, 'a', size);
  memcpy(content + size - 20, "\nfar:x:3:4::/:\n", 15);
  int passwd = file_of(content, size);
  CHECK(user_resolve("far", passwd, -1, &user, buffer, &culprit) == USER_OK && user.uid == 3);
  close(passwd);
  memset(content, 0, size);
  passwd = file_of(content, size);
  CHECK(user_resolve("far", passwd, passwd, &user, buffer, &culprit) == USER_UNKNOWN);
  close(passwd);
  memset(content, ':', size);
  passwd = file_of(content, size);
  CHECK(user_resolve("far:x", passwd, passwd, &user, buffer, &culprit) == USER_UNKNOWN);
  close(passwd);
  for (size_t i = 0; i + 12 < size; i += 12) memcpy(content + i, "g:x:1:root,\n", 12);
  passwd = file_of(PASSWD, sizeof PASSWD - 1);
  int group = file_of(content, size);
  CHECK(user_resolve("root", passwd, group, &user, buffer, &culprit) == USER_OK && user.group_count == 1);
  CHECK(user_add_group("2000", group, &user) == USER_OK && user.group_count == 2);
  close(passwd);
  close(group);
  CHECK(user_resolve("5", -1, -1, &user, buffer, &culprit) == USER_OK && user.uid == 5);
  free(content);
}

/* More groups than there is room for. */
static void test_many_groups(void) {
  static char content[1 << 20];
  size_t used = 0;
  char buffer[256];
  const char *culprit;
  struct user user;
  for (int i = 0; i < 1000; i++) used += (size_t)sprintf(content + used, "g%d:x:%d:root\n", i, 5000 + i);
  int passwd = file_of(PASSWD, sizeof PASSWD - 1), group = file_of(content, used);
  CHECK(user_resolve("root", passwd, group, &user, buffer, &culprit) == USER_OK);
  CHECK(user.group_count == USER_GROUPS_MAX);
  CHECK(user_add_group("g900", group, &user) == USER_OK);
  close(passwd);
  close(group);
}

void test_user(void) {
  test_resolving();
  test_refusing();
  test_odd_files();
  test_many_groups();
}
