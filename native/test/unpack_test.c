/*
 * What reads foreign archives, under AddressSanitizer and UBSan: names, decompression and extraction. Each case
 * runs in a process of its own with an empty directory as its root, as in ts-unpack. Run as root.
 */
#include "../unpack/unpack.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "foreign.h"

static const struct unpack_options SMALL = {
    .mode = UNPACK_LAYER,
    .input = {.bytes_max = 4 << 20, .ratio_max = 100, .ratio_floor = 1 << 20},
    .entries_max = 200,
};

/* ---- names */

static void check_name(const char *raw, const char *expected) {
  char path[PATH_MAX];
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    int result = place_normalise("entry", raw, path);
    _exit(expected ? !(result == 0 && strcmp(path, expected) == 0) : !(result < 0));
  }
  int status;
  CHECK(waitpid(pid, &status, 0) == pid);
  if (status != 0) fprintf(stderr, "name '%.40s'\n", raw);
  CHECK(status == 0);
}

static void test_names(void) {
  char part[300], deep[2 * PATH_MAX];
  memset(part, 'x', sizeof part);
  part[255] = 0;
  check_name(part, part);
  part[255] = 'x';
  part[256] = 0;
  check_name(part, NULL);
  for (size_t i = 0; i < sizeof deep - 1; i++) deep[i] = i % 2 ? '/' : 'd';
  deep[sizeof deep - 1] = 0;
  check_name(deep, NULL);
  deep[PATH_MAX - 2] = 0;
  check_name(deep + 1, NULL);
  check_name("a/b", "a/b");
  check_name("./a//b/./c/", "a/b/c");
  check_name(".", "");
  check_name("", "");
  check_name("...", "...");
  check_name("a/..b", "a/..b");
  check_name("..", NULL);
  check_name("a/..", NULL);
  check_name("a/../b", NULL);
  check_name("/a", NULL);
}

/* ---- archives */

/* 0: unpacked; 1: refused with a message. Anything else is a fault. */
static int unpack_in_child(const struct archive_bytes *a, const char *root) {
  int input = open_archive(a), sockets[2];
  CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets) == 0);
  fflush(NULL);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    close(sockets[0]);
    if (chroot(root) < 0 || chdir("/") < 0 || dup2(input, 0) < 0) _exit(3);
    if (extract(&SMALL, sockets[1]) == 0) _exit(failed() ? 4 : 0);
    _exit(failed() ? 1 : 5);
  }
  close(sockets[1]);
  close(input);
  opaque_serve(sockets[0]);
  close(sockets[0]);
  int status;
  CHECK(waitpid(pid, &status, 0) == pid);
  CHECK(WIFEXITED(status));
  return WEXITSTATUS(status);
}

static void test_archives(const char *root) {
  static struct archive_bytes seed, a;
  for (int format = PLAIN; format < FORMATS; format++) {
    build_archive(&seed);
    wrap_archive(&seed, format);
    CHECK(unpack_in_child(&seed, root) == 0);
    empty_directory(root);
    int taken = 0, refused = 0;
    for (int run = 0; run < 150; run++) {
      a = seed;
      damage_archive(&a, format);
      int result = unpack_in_child(&a, root);
      CHECK(result == 0 || result == 1);
      result == 0 ? taken++ : refused++;
      empty_directory(root);
    }
    CHECK(taken > 0 && refused > 0);
  }
}

int main(void) {
  if (geteuid() != 0) {
    fprintf(stderr, "unpack_test: needs root\n");
    return 2;
  }
  char root[] = "/tmp/tessera-unpack-test-XXXXXX";
  CHECK(mkdtemp(root));
  test_names();
  test_archives(root);
  CHECK(rmdir(root) == 0);
  puts("unpack_test: ok");
  return 0;
}
