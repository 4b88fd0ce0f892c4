/*
 * What reads foreign archives, under AddressSanitizer and UBSan: names, decompression and extraction. Each case
 * runs in a process of its own with an empty directory as its root, as in ts-unpack. Run as root.
 */
#include "../unpack/unpack.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) {                                                         \
      fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      exit(2);                                                                  \
    }                                                                           \
  } while (0)

enum { ARCHIVE_MAX = 64 * 1024 };

static uint32_t state = 20261121;
static uint32_t chance(uint32_t below) {
  state = state * 1664525 + 1013904223;
  return (state >> 8) % below;
}

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

struct archive {
  unsigned char bytes[ARCHIVE_MAX];
  size_t length;
};

static void set_checksum(unsigned char *header) {
  memset(header + 148, ' ', 8);
  unsigned sum = 0;
  for (int i = 0; i < 512; i++) sum += header[i];
  snprintf((char *)header + 148, 8, "%06o", sum);
}

static void add(struct archive *a, char type, const char *name, const char *target, const char *content, size_t length) {
  unsigned char *header = a->bytes + a->length;
  memset(header, 0, 512);
  snprintf((char *)header, 100, "%s", name);
  memcpy(header + 100, "0000644\0000000000\0000000000", 24);
  snprintf((char *)header + 124, 12, "%011o", (unsigned)length);
  memcpy(header + 136, "00000000000", 11);
  header[156] = (unsigned char)type;
  if (target) snprintf((char *)header + 157, 100, "%s", target);
  memcpy(header + 257, "ustar\00000", 8);
  set_checksum(header);
  memcpy(header + 512, content, length);
  a->length += 512 + (length + 511) / 512 * 512;
}

static void build(struct archive *a) {
  memset(a, 0, sizeof *a);
  add(a, '5', "dir/", NULL, "", 0);
  add(a, '0', "dir/file", NULL, "some content", 12);
  add(a, '1', "dir/hard", "dir/file", "", 0);
  add(a, '2', "link", "dir", "", 0);
  add(a, '0', "link/through", NULL, "x", 1);
  static const char pax[] = "30 mtime=1700000000.123456789\n30 SCHILY.xattr.user.name=valu\n";
  add(a, 'x', "pax", NULL, pax, sizeof pax - 1);
  add(a, '0', "with-attributes", NULL, "y", 1);
  add(a, 'L', "././@LongLink", NULL, "a/very/long/name/of/gnu/tar", 28);
  add(a, '0', "short", NULL, "", 0);
  add(a, '3', "device", NULL, "", 0);
  add(a, '6', "fifo", NULL, "", 0);
  add(a, '0', "dir/.wh.gone", NULL, "", 0);
  add(a, '0', "dir/.wh..wh..opq", NULL, "", 0);
  add(a, '0', "dir", NULL, "replaced", 8);
  a->length += 1024;
}

static void squeeze(struct archive *a) {
  static unsigned char packed[ARCHIVE_MAX];
  z_stream z = {0};
  CHECK(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  z.next_in = a->bytes;
  z.avail_in = (uInt)a->length;
  z.next_out = packed;
  z.avail_out = sizeof packed;
  CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
  a->length = sizeof packed - z.avail_out;
  memcpy(a->bytes, packed, a->length);
  deflateEnd(&z);
}

/* Stored zstd blocks need no compressor (RFC 8878, 3.1.1). */
static void wrap_zstd(struct archive *a) {
  CHECK(a->length + 9 < ARCHIVE_MAX && a->length < 128 * 1024);
  memmove(a->bytes + 9, a->bytes, a->length);
  memcpy(a->bytes, "\x28\xb5\x2f\xfd\x00\x50", 6);
  uint32_t block = (uint32_t)a->length << 3 | 1;
  memcpy(a->bytes + 6, &block, 3);
  a->length += 9;
}

/* 0: unpacked; 1: refused with a message. Anything else is a fault. */
static int unpack_in_child(const struct archive *a, const char *root) {
  int input = memfd_create("archive", MFD_CLOEXEC), sockets[2];
  CHECK(input >= 0 && write(input, a->bytes, a->length) == (ssize_t)a->length && lseek(input, 0, SEEK_SET) == 0);
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

static void empty(const char *root) {
  CHECK(chdir(root) == 0);
  pid_t pid = fork();
  if (pid == 0) {
    execlp("find", "find", ".", "-mindepth", "1", "-delete", NULL);
    _exit(127);
  }
  int status;
  CHECK(waitpid(pid, &status, 0) == pid && status == 0);
  CHECK(chdir("/") == 0);
}

static void test_archives(const char *root) {
  static struct archive seed, a;
  for (int format = 0; format < 3; format++) {
    build(&a);
    if (format == 1) squeeze(&a);
    if (format == 2) wrap_zstd(&a);
    seed = a;
    CHECK(unpack_in_child(&a, root) == 0);
    empty(root);
    int taken = 0, refused = 0;
    for (int run = 0; run < 150; run++) {
      a = seed;
      if (chance(4) == 0) a.length = 1 + chance((uint32_t)a.length);
      for (uint32_t changes = chance(6); changes > 0; changes--) a.bytes[chance((uint32_t)a.length)] = (unsigned char)chance(256);
      // Half the damaged headers are made to look right, or nothing beyond the checksum would be tried.
      if (format == 0 && chance(2) == 0)
        for (size_t at = 0; at + 512 <= a.length; at += 512)
          if (memcmp(a.bytes + at + 257, "ustar", 5) == 0) set_checksum(a.bytes + at);
      int result = unpack_in_child(&a, root);
      CHECK(result == 0 || result == 1);
      result == 0 ? taken++ : refused++;
      empty(root);
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
