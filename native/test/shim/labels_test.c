/* Labels of trees, on a real file system: any kernel keeps the attribute, whether SELinux is on or not. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../../shim/labels.h"
#include "check.h"

#define LABEL "system_u:object_r:ts_test_t:s0:c1,c2"

static int has(const char *path) {
  char there[256] = "";
  return lgetxattr(path, "security.selinux", there, sizeof there - 1) > 0 && !strcmp(there, LABEL);
}

static void make_file(const char *path) { close(open(path, O_CREAT | O_WRONLY, 0600)); }

static int label(const char *path) {
  int top = open(path, O_PATH | O_NOFOLLOW);
  int result = label_tree(top, LABEL), error = errno;
  close(top);
  errno = error;
  return result;
}

/* Makes `depth` directories, one in the other, and a file in the last. Its path may be longer than the kernel takes one. */
static void make_chain(const char *top, const char *name, unsigned depth) {
  int here = open(".", O_RDONLY | O_DIRECTORY), result = mkdir(top, 0700) || chdir(top);
  for (unsigned i = 0; i < depth && result == 0; i++) result = mkdir(name, 0700) || chdir(name);
  make_file("end");
  CHECK(result == 0 && fchdir(here) == 0);
  close(here);
}

static int chain_has(const char *top, const char *name, unsigned depth) {
  int here = open(".", O_RDONLY | O_DIRECTORY), result = chdir(top) == 0;
  for (unsigned i = 0; i < depth && result; i++) result = has(name) && chdir(name) == 0;
  result = result && has("end") && fchdir(here) == 0;
  close(here);
  return result;
}

static void of_trees(void) {
  CHECK(mkdir("top", 0700) == 0 && mkdir("top/dir", 0700) == 0 && mkdir("outside", 0700) == 0);
  make_file("top/file");
  make_file("top/dir/file");
  make_file("outside/file");
  CHECK(mkfifo("top/pipe", 0600) == 0);
  CHECK(symlink("../outside/file", "top/link") == 0 && symlink("../../outside", "top/dir/link") == 0);

  CHECK(label("top") == 0);
  CHECK(has("top") && has("top/dir") && has("top/file") && has("top/dir/file") && has("top/pipe"));
  CHECK(has("top/link") && !has("outside/file") && !has("outside"));

  /* A top that has the label is done: nothing in it is looked at. */
  make_file("top/later");
  CHECK(label("top") == 0 && !has("top/later"));
  CHECK(label("outside/file") == 0 && has("outside/file") && !has("outside"));
}

static void of_depths(void) {
  char name[251];
  memset(name, 'n', sizeof name - 1);
  name[sizeof name - 1] = 0;
  make_chain("deep", "d", 5000);
  CHECK(label("deep") == 0 && has("deep") && chain_has("deep", "d", 5000));
  /* There is a bound. Its top stays without the label then, so it is never taken for done. */
  make_chain("deeper", name, 1200);
  CHECK(label("deeper") < 0 && errno == ENAMETOOLONG && !has("deeper"));
}

static void of_the_host(void) {
  static const char *const kept[] = {"/", "/etc", "/usr/../etc", "/var/lib"};
  for (unsigned i = 0; i < sizeof kept / sizeof *kept; i++)
    CHECK(label(kept[i]) < 0 && errno == ENOTSUP && !has(kept[i]));
}

void test_labels(void) {
  char place[] = "/tmp/ts-labels-XXXXXX", command[64];
  int before = open(".", O_RDONLY | O_DIRECTORY);
  CHECK(mkdtemp(place) && chdir(place) == 0);
  of_trees();
  of_depths();
  of_the_host();
  CHECK(fchdir(before) == 0);
  close(before);
  snprintf(command, sizeof command, "rm -rf %s", place);
  CHECK(system(command) == 0);
}
