/*
 * ts-archive under AddressSanitizer and UBSan: archives are taken in, and what they have made is given out in every way.
 * Each step runs in a process of its own with a directory as its root, as in ts-archive. Run as root.
 */
#include "../archive/archive.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "foreign.h"

static const struct options OPTIONS = {
    .path = "/", .name = "/", .input = {.bytes_max = 4 << 20, .ratio_max = 100, .ratio_floor = 1 << 20}};

/* 0: done; 1: refused with a message. Anything else is a fault. */
static int in_child(struct options options, int input, const char *root) {
  // No records: nothing is mounted.
  struct spec spec = {0};
  int sockets[2];
  CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets) == 0);
  fflush(NULL);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    int monitor = fcntl(sockets[1], F_DUPFD, 100), nothing = open("/dev/null", O_RDWR), result = -1;
    close(sockets[0]);
    close(sockets[1]);
    if (chroot(root) < 0 || chdir("/") < 0 || dup2(input < 0 ? nothing : input, 0) < 0) _exit(3);
    if (dup2(nothing, REPORT) < 0 || dup2(nothing, DATA) < 0 || find_begin() < 0) _exit(3);
    switch (options.verb) {
      case VERB_STAT: result = stat_path(&options); break;
      case VERB_GET: result = get_path(&options); break;
      case VERB_PUT: result = put_archive(&options); break;
      case VERB_EXPORT: result = export_root(); break;
      case VERB_CHANGES: result = list_changes(&spec, -1, monitor); break;
      case VERB_LAYER: result = make_layer(&spec, -1, monitor); break;
    }
    _exit(result == 0 ? (failed() ? 4 : 0) : (failed() ? 1 : 5));
  }
  close(sockets[1]);
  opaque_serve(sockets[0]);
  close(sockets[0]);
  int status;
  CHECK(waitpid(pid, &status, 0) == pid);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) <= 1);
  return WEXITSTATUS(status);
}

static struct options with(enum verb verb, const char *path) {
  struct options options = OPTIONS;
  options.verb = verb;
  options.path = path;
  return options;
}

static int put(const struct archive_bytes *a, const char *root) {
  struct options options = with(VERB_PUT, chance(4) ? "/" : "/dir");
  options.keep_kind = chance(2);
  options.user = chance(3) ? NULL : "app:7";
  int input = open_archive(a), result = in_child(options, input, root);
  close(input);
  return result;
}

static void give(const char *root) {
  static const char *const PATHS[] = {"/", "/dir/file", "/link", "/loop", "/up", "/etc/passwd", "/no/such"};
  struct options options = with(chance(2) ? VERB_GET : VERB_STAT, PATHS[chance(sizeof PATHS / sizeof *PATHS)]);
  options.follow = chance(2);
  in_child(options, -1, root);
  static const enum verb WHOLE[] = {VERB_EXPORT, VERB_CHANGES, VERB_LAYER};
  in_child(with(WHOLE[chance(3)], "/"), -1, root);
}

static void build(struct archive_bytes *a) {
  static const char passwd[] = "root:x:0:0\n\n:::\napp:x:1000:99999999999999999999:::\napp:x:1000:1001:App:/:/bin/sh";
  memset(a, 0, sizeof *a);
  add_entry(a, '0', "etc/passwd", NULL, passwd, sizeof passwd - 1);
  add_entry(a, '2', "loop", "loop", "", 0);
  add_entry(a, '2', "up", "../../../dir/../link/file", "", 0);
  add_entry(a, '0', "../../climbs", NULL, "x", 1);
  struct archive_bytes rest;
  build_archive(&rest);
  CHECK(a->length + rest.length <= ARCHIVE_MAX);
  // What climbs is refused: it is there for a part of the runs, in which its name is damaged.
  if (chance(8)) a->length -= 1024;
  memcpy(a->bytes + a->length, rest.bytes, rest.length);
  a->length += rest.length;
}

int main(void) {
  if (geteuid() != 0) {
    fprintf(stderr, "archive_test: needs root\n");
    return 2;
  }
  char root[] = "/tmp/tessera-archive-test-XXXXXX";
  static struct archive_bytes a;
  CHECK(mkdtemp(root));
  for (int format = PLAIN; format < FORMATS; format++) {
    int taken = 0, refused = 0;
    for (int run = 0; run < 60; run++) {
      build(&a);
      wrap_archive(&a, format);
      if (run > 0) damage_archive(&a, format);
      put(&a, root) == 0 ? taken++ : refused++;
      // What the last ones have left is replaced, or in the way.
      if (chance(4) == 0) empty_directory(root);
      give(root);
    }
    CHECK(taken > 0 && refused > 0);
  }
  empty_directory(root);
  CHECK(rmdir(root) == 0);
  puts("archive_test: ok");
  return 0;
}
