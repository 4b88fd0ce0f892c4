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

/* Below the working directory, `depth` directories. Leaves the working directory where it was. */
static void make_chain(unsigned depth) {
  int top = open(".", O_RDONLY | O_DIRECTORY), result = 0;
  for (unsigned i = 0; i < depth && result == 0; i++) result = mkdir("d", 0700) || chdir("d");
  make_file("end");
  CHECK(result == 0 && fchdir(top) == 0);
  close(top);
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
  CHECK(mkdir("deep", 0700) == 0 && mkdir("deeper", 0700) == 0 && chdir("deep") == 0);
  make_chain(500);
  CHECK(chdir("../deeper") == 0);
  make_chain(3000);
  CHECK(chdir("..") == 0);
  CHECK(label("deep") == 0 && has("deep") && has("deep/d/d/d"));
  char end[2048] = "deep";
  for (unsigned i = 0; i < 500; i++) strcat(end, "/d");
  CHECK(has(strcat(end, "/end")));
  /* Its top stays without the label, so it is never taken for done. */
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
