#include "foreign.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

static uint32_t state = 20261121;
uint32_t chance(uint32_t below) {
  state = state * 1664525 + 1013904223;
  return (state >> 8) % below;
}

static void set_checksum(unsigned char *header) {
  memset(header + 148, ' ', 8);
  unsigned sum = 0;
  for (int i = 0; i < 512; i++) sum += header[i];
  snprintf((char *)header + 148, 8, "%06o", sum);
}

void add_entry(struct archive_bytes *a, char type, const char *name, const char *target, const char *content, size_t length) {
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

void build_archive(struct archive_bytes *a) {
  memset(a, 0, sizeof *a);
  add_entry(a, '5', "dir/", NULL, "", 0);
  add_entry(a, '0', "dir/file", NULL, "some content", 12);
  add_entry(a, '1', "dir/hard", "dir/file", "", 0);
  add_entry(a, '2', "link", "dir", "", 0);
  add_entry(a, '0', "link/through", NULL, "x", 1);
  static const char pax[] = "30 mtime=1700000000.123456789\n30 SCHILY.xattr.user.name=valu\n";
  add_entry(a, 'x', "pax", NULL, pax, sizeof pax - 1);
  add_entry(a, '0', "with-attributes", NULL, "y", 1);
  add_entry(a, 'L', "././@LongLink", NULL, "a/very/long/name/of/gnu/tar", 28);
  add_entry(a, '0', "short", NULL, "", 0);
  add_entry(a, '3', "device", NULL, "", 0);
  add_entry(a, '6', "fifo", NULL, "", 0);
  add_entry(a, '0', "dir/.wh.gone", NULL, "", 0);
  add_entry(a, '0', "dir/.wh..wh..opq", NULL, "", 0);
  add_entry(a, '0', "dir", NULL, "replaced", 8);
  a->length += 1024;
}

static void squeeze(struct archive_bytes *a) {
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
static void wrap_zstd(struct archive_bytes *a) {
  CHECK(a->length + 9 < ARCHIVE_MAX && a->length < 128 * 1024);
  memmove(a->bytes + 9, a->bytes, a->length);
  memcpy(a->bytes, "\x28\xb5\x2f\xfd\x00\x50", 6);
  uint32_t block = (uint32_t)a->length << 3 | 1;
  memcpy(a->bytes + 6, &block, 3);
  a->length += 9;
}

void wrap_archive(struct archive_bytes *a, int format) {
  if (format == GZIP) squeeze(a);
  if (format == ZSTD) wrap_zstd(a);
}

void damage_archive(struct archive_bytes *a, int format) {
  if (chance(4) == 0) a->length = 1 + chance((uint32_t)a->length);
  for (uint32_t changes = chance(6); changes > 0; changes--)
    a->bytes[chance((uint32_t)a->length)] = (unsigned char)chance(256);
  // Or nothing beyond the checksum would be tried.
  if (format == PLAIN && chance(2) == 0)
    for (size_t at = 0; at + 512 <= a->length; at += 512)
      if (memcmp(a->bytes + at + 257, "ustar", 5) == 0) set_checksum(a->bytes + at);
}

int open_archive(const struct archive_bytes *a) {
  int input = memfd_create("archive", MFD_CLOEXEC);
  CHECK(input >= 0 && write(input, a->bytes, a->length) == (ssize_t)a->length && lseek(input, 0, SEEK_SET) == 0);
  return input;
}

void empty_directory(const char *root) {
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
