#include "confine.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <nettle/sha2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum format { FORMAT_PLAIN, FORMAT_GZIP, FORMAT_ZSTD };

static struct {
  const struct input_bounds *bounds;
  bool hashed;
  enum format format;
  z_stream gzip;
  ZSTD_DStream *zstd;
  /* A member or frame has begun and not ended: the end of input is then a truncation. */
  bool inside;
  bool ended;
  size_t at, length;
  uint64_t compressed, uncompressed;
  struct sha256_ctx digest;
  unsigned char raw[128 * 1024];
  unsigned char out[256 * 1024];
} in;

static long read_some(void *to, size_t room) {
  if (connection_given()) return connection_read(to, room);
  ssize_t got;
  do got = read(0, to, room);
  while (got < 0 && errno == EINTR);
  return got < 0 ? fail_errno("reading the archive") : got;
}

/* Reads more behind what is unread. The bytes added, 0 at the end, -1 after fail(). */
static long fill(void) {
  if (in.ended) return 0;
  if (in.at > 0) {
    memmove(in.raw, in.raw + in.at, in.length - in.at);
    in.length -= in.at;
    in.at = 0;
  }
  long got = read_some(in.raw + in.length, sizeof in.raw - in.length);
  if (got < 0) return -1;
  if (got == 0) in.ended = true;
  in.length += (size_t)got;
  in.compressed += (uint64_t)got;
  return got;
}

static bool begins(const char *magic, size_t length) {
  return in.length - in.at >= length && memcmp(in.raw + in.at, magic, length) == 0;
}

static bool begins_zstd(void) {
  if (begins("\x28\xb5\x2f\xfd", 4)) return true;
  // Skippable frames: 0x184D2A50 to 0x184D2A5F, little endian (RFC 8878, 3.1.2).
  return in.length - in.at >= 4 && (in.raw[in.at] & 0xf0) == 0x50 && memcmp(in.raw + in.at + 1, "\x2a\x4d\x18", 3) == 0;
}

int input_open(const struct input_bounds *bounds, bool hashed) {
  in.bounds = bounds;
  in.hashed = hashed;
  sha256_init(&in.digest);
  while (in.length < 6) {
    long got = fill();
    if (got < 0) return -1;
    if (got == 0) break;
  }
  if (begins("\x1f\x8b", 2)) {
    in.format = FORMAT_GZIP;
    if (inflateInit2(&in.gzip, 16 + MAX_WBITS) != Z_OK) return fail(KIND_EXHAUSTED, "no memory for gzip");
    in.inside = true;
  } else if (begins_zstd()) {
    in.format = FORMAT_ZSTD;
    in.zstd = ZSTD_createDStream();
    if (!in.zstd) return fail(KIND_EXHAUSTED, "no memory for zstd");
    in.inside = true;
  } else if (begins("\xfd"
                    "7zXZ\0",
                    6)) {
    return fail(KIND_INVALID, "the archive is compressed with xz: compress it with gzip or zstd, or not at all");
  } else if (begins("BZh", 3)) {
    return fail(KIND_INVALID, "the archive is compressed with bzip2: compress it with gzip or zstd, or not at all");
  }
  return 0;
}

/* Each step makes output from raw input. The bytes made (perhaps none), or -1 after fail(). */
static long step_gzip(void) {
  if (!in.inside) {
    // Members may follow one another (RFC 1952, 2.2).
    if (!begins("\x1f\x8b", 2)) return fail(KIND_INVALID, "data that is not gzip follows the compressed archive");
    inflateReset(&in.gzip);
    in.inside = true;
  }
  in.gzip.next_in = in.raw + in.at;
  in.gzip.avail_in = (uInt)(in.length - in.at);
  in.gzip.next_out = in.out;
  in.gzip.avail_out = sizeof in.out;
  int result = inflate(&in.gzip, Z_NO_FLUSH);
  in.at = in.length - in.gzip.avail_in;
  if (result == Z_STREAM_END) in.inside = false;
  else if (result != Z_OK && result != Z_BUF_ERROR)
    return fail(KIND_INVALID, "the archive's gzip data is damaged: %s", in.gzip.msg ? in.gzip.msg : zError(result));
  return (long)(sizeof in.out - in.gzip.avail_out);
}

static long step_zstd(void) {
  ZSTD_inBuffer input = {in.raw + in.at, in.length - in.at, 0};
  ZSTD_outBuffer output = {in.out, sizeof in.out, 0};
  size_t result = ZSTD_decompressStream(in.zstd, &output, &input);
  in.at += input.pos;
  ZSTD_ErrorCode code = ZSTD_getErrorCode(result);
  if (code == ZSTD_error_memory_allocation || code == ZSTD_error_frameParameter_windowTooLarge)
    return fail(KIND_EXHAUSTED, "the archive's zstd data needs more memory than unpacking may take");
  if (ZSTD_isError(result))
    return fail(KIND_INVALID, "the archive's zstd data is damaged: %s", ZSTD_getErrorName(result));
  in.inside = result != 0;
  return (long)output.pos;
}

static long step_plain(void) {
  size_t length = in.length - in.at;
  memcpy(in.out, in.raw + in.at, length);
  in.at = in.length;
  return (long)length;
}

static int account(long length) {
  const struct input_bounds *o = in.bounds;
  in.uncompressed += (uint64_t)length;
  if (in.uncompressed > o->bytes_max)
    return fail(KIND_EXHAUSTED, "the archive is larger than %llu bytes uncompressed", (unsigned long long)o->bytes_max);
  if (in.uncompressed > o->ratio_floor && in.uncompressed / in.compressed > o->ratio_max)
    return fail(KIND_EXHAUSTED,
                "the archive expands more than %llu times: %llu bytes came of %llu (a decompression bomb?)",
                (unsigned long long)o->ratio_max, (unsigned long long)in.uncompressed,
                (unsigned long long)in.compressed);
  if (in.hashed) sha256_update(&in.digest, (size_t)length, in.out);
  return 0;
}

long input_next(const void **piece) {
  if (failed()) return -1;
  for (;;) {
    // One byte is not enough to tell whether another gzip member follows.
    size_t wanted = in.format == FORMAT_GZIP && !in.inside ? 2 : 1;
    if (in.length - in.at < wanted && !in.ended) {
      if (fill() < 0) return -1;
      continue;
    }
    bool exhausted = in.at == in.length;
    if (exhausted && !in.inside) return 0;
    // The decoder may hold output that did not fit the last time, so it is asked once more at the end.
    long made = in.format == FORMAT_GZIP ? step_gzip() : in.format == FORMAT_ZSTD ? step_zstd() : step_plain();
    if (made < 0) return -1;
    if (made > 0) {
      *piece = in.out;
      return account(made) < 0 ? -1 : made;
    }
    if (exhausted && in.inside)
      return fail(KIND_INVALID, "the archive is truncated: its compressed data ends in the middle");
  }
}

int input_drain(void) {
  const void *piece;
  long length;
  while ((length = input_next(&piece)) > 0) continue;
  return length < 0 ? -1 : 0;
}

uint64_t input_bytes(void) { return in.uncompressed; }

void input_digest(char text[72]) {
  unsigned char digest[SHA256_DIGEST_SIZE];
  sha256_digest(&in.digest, sizeof digest, digest);
  memcpy(text, "sha256:", 7);
  for (size_t i = 0; i < sizeof digest; i++) snprintf(text + 7 + 2 * i, 3, "%02x", digest[i]);
}

static la_ssize_t read_piece(struct archive *archive, void *context, const void **piece) {
  long length = input_next(piece);
  if (length >= 0) return length;
  archive_set_error(archive, EIO, "input");
  return ARCHIVE_FATAL;
}

int input_refuse(struct archive *archive, const char *path) {
  const char *why = archive_error_string(archive);
  if (path) return fail(KIND_INVALID, "'%.200s': %s", path, why ? why : "damaged archive");
  return fail(KIND_INVALID, "not a readable tar archive: %s", why ? why : "damaged");
}

struct archive *input_archive(void) {
  struct archive *archive = archive_read_new();
  if (!archive) {
    fail(KIND_EXHAUSTED, "no memory");
    return NULL;
  }
  archive_read_support_format_tar(archive);
  archive_read_support_format_empty(archive);
  if (archive_read_open(archive, NULL, NULL, read_piece, NULL) == ARCHIVE_OK) return archive;
  input_refuse(archive, NULL);
  return NULL;
}

int input_entry(struct archive *archive, struct archive_entry **entry) {
  for (;;) {
    int result = archive_read_next_header(archive, entry);
    if (failed()) return -1;
    if (result == ARCHIVE_EOF) return 0;
    // A warning is about a name or attribute outside UTF-8, which is kept as it is.
    if (result == ARCHIVE_OK || result == ARCHIVE_WARN) return 1;
    if (result != ARCHIVE_RETRY) return input_refuse(archive, NULL);
  }
}

int input_write(struct archive *archive, int64_t size, const char *path, int fd) {
  const void *piece;
  size_t length;
  int64_t offset, end = 0;
  int result;
  while ((result = archive_read_data_block(archive, &piece, &length, &offset)) == ARCHIVE_OK) {
    if (offset < 0 || offset > size || length > (uint64_t)(size - offset))
      return fail(KIND_INVALID, "'%.200s': holds more than its size says", path);
    while (length > 0) {
      ssize_t written = pwrite(fd, piece, length, offset);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return fail_errno("'%.200s': writing", path);
      piece = (const char *)piece + written;
      length -= (size_t)written;
      offset += written;
    }
    if (offset > end) end = offset;
  }
  if (result != ARCHIVE_EOF) return input_refuse(archive, path);
  return end < size && ftruncate(fd, size) < 0 ? fail_errno("'%.200s': writing", path) : 0;
}
