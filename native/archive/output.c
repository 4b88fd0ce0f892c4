#include "archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <zlib.h>

/* What a layer may hold, as the unpacker has it. */
#define LAYER_BYTES_MAX (64ull << 30)
#define LAYER_ENTRIES_MAX 5000000ull
#define ATTRIBUTES_MAX (64u * 1024)

static struct {
  struct archive *archive;
  struct archive_entry_linkresolver *links;
  bool layer;
  uint64_t bytes, entries, tar_bytes;
  struct sha256_ctx digest;
  z_stream gzip;
  size_t used;
  unsigned char out[256 * 1024];
  unsigned char content[256 * 1024];
} o;

uint64_t output_bytes(void) { return o.bytes; }
uint64_t output_entries(void) { return o.entries; }
uint64_t output_tar_bytes(void) { return o.tar_bytes; }

void output_digest(char text[72]) {
  unsigned char digest[SHA256_DIGEST_SIZE];
  sha256_digest(&o.digest, sizeof digest, digest);
  memcpy(text, "sha256:", 7);
  for (size_t i = 0; i < sizeof digest; i++) snprintf(text + 7 + 2 * i, 3, "%02x", digest[i]);
}

/* ---- where the bytes go */

static int flush(void) {
  if (connection_given()) {
    size_t length = o.used;
    o.used = 0;
    return connection_write(o.out, length);
  }
  for (size_t at = 0; at < o.used;) {
    ssize_t written = write(DATA, o.out + at, o.used - at);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno("writing the archive");
    at += (size_t)written;
  }
  o.used = 0;
  return 0;
}

static int put_plain(const unsigned char *bytes, size_t length) {
  while (length > 0) {
    size_t part = sizeof o.out - o.used < length ? sizeof o.out - o.used : length;
    memcpy(o.out + o.used, bytes, part);
    o.used += part;
    bytes += part;
    length -= part;
    if (o.used == sizeof o.out && flush() < 0) return -1;
  }
  return 0;
}

static int put_gzip(const unsigned char *bytes, size_t length, int mode) {
  o.gzip.next_in = (unsigned char *)bytes;
  o.gzip.avail_in = (uInt)length;
  for (int result = Z_OK; o.gzip.avail_in > 0 || (mode == Z_FINISH && result != Z_STREAM_END);) {
    o.gzip.next_out = o.out + o.used;
    o.gzip.avail_out = (uInt)(sizeof o.out - o.used);
    result = deflate(&o.gzip, mode);
    if (result == Z_STREAM_ERROR) return fail(KIND_INTERNAL, "compressing the layer");
    o.used = sizeof o.out - o.gzip.avail_out;
    if (o.used == sizeof o.out && flush() < 0) return -1;
  }
  return 0;
}

static la_ssize_t put(struct archive *archive, void *context, const void *bytes, size_t length) {
  o.tar_bytes += length;
  if (o.layer) sha256_update(&o.digest, length, bytes);
  if ((o.layer ? put_gzip(bytes, length, Z_NO_FLUSH) : put_plain(bytes, length)) == 0) return (la_ssize_t)length;
  archive_set_error(archive, EIO, "output");
  return ARCHIVE_FATAL;
}

static int refused(const char *path) {
  if (failed()) return -1;
  const char *why = archive_error_string(o.archive);
  return fail(KIND_INTERNAL, "'%.200s': %s", path, why ? why : "cannot be put into an archive");
}

int output_begin(bool layer) {
  o.layer = layer;
  sha256_init(&o.digest);
  // Fast rather than small: it travels between hosts that are near each other.
  if (layer && deflateInit2(&o.gzip, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    return fail(KIND_EXHAUSTED, "no memory for gzip");
  o.archive = archive_write_new();
  o.links = archive_entry_linkresolver_new();
  if (!o.archive || !o.links) return fail(KIND_EXHAUSTED, "no memory");
  archive_entry_linkresolver_set_strategy(o.links, ARCHIVE_FORMAT_TAR_PAX_RESTRICTED);
  archive_write_set_bytes_per_block(o.archive, 0);
  // pax where ustar does not do; attributes as Docker and GNU tar have them; names byte for byte.
  if (archive_write_set_format_pax_restricted(o.archive) != ARCHIVE_OK ||
      archive_write_set_format_option(o.archive, NULL, "xattrheader", "SCHILY") != ARCHIVE_OK ||
      archive_write_open(o.archive, NULL, NULL, put, NULL) != ARCHIVE_OK)
    return refused("/");
  return 0;
}

int output_end(void) {
  if (archive_write_close(o.archive) != ARCHIVE_OK) return refused("/");
  if (o.layer && put_gzip(NULL, 0, Z_FINISH) < 0) return -1;
  return flush();
}

/* ---- what is put into it */

static int write_header(struct archive_entry *entry, const char *path) {
  if (o.layer && (++o.entries > LAYER_ENTRIES_MAX))
    return fail(KIND_EXHAUSTED, "the layer has more than %llu entries", LAYER_ENTRIES_MAX);
  // A warning is about a name that is no UTF-8, which goes out as it is.
  return archive_write_header(o.archive, entry) < ARCHIVE_WARN ? refused(path) : 0;
}

static void take_attributes(struct archive_entry *entry, int fd) {
  static char names[ATTRIBUTES_MAX], value[ATTRIBUTES_MAX];
  ssize_t length = flistxattr(fd, names, sizeof names);
  for (char *name = names; length > 0 && name < names + length; name += strlen(name) + 1) {
    if (!attribute_is_kept(name)) continue;
    ssize_t size = fgetxattr(fd, name, value, sizeof value);
    if (size >= 0) archive_entry_xattr_add_entry(entry, name, value, (size_t)size);
  }
}

static void take_stat(struct archive_entry *entry, const struct stat *st) {
  archive_entry_copy_stat(entry, st);
  // As Docker's archives: whole seconds, and no other times.
  archive_entry_set_mtime(entry, st->st_mtime, 0);
  archive_entry_unset_atime(entry);
  archive_entry_unset_ctime(entry);
  archive_entry_unset_birthtime(entry);
}

/* As much as the header says: what grows meanwhile is cut, what shrinks is filled up with zeros. */
static int write_content(const char *path, int fd, uint64_t size) {
  o.bytes += size;
  if (o.layer && (size > LAYER_BYTES_MAX || o.bytes > LAYER_BYTES_MAX))
    return fail(KIND_EXHAUSTED, "the container has written more than %llu bytes", LAYER_BYTES_MAX);
  while (size > 0) {
    size_t wanted = size < sizeof o.content ? (size_t)size : sizeof o.content;
    ssize_t got = read(fd, o.content, wanted);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("'%.200s': reading", path);
    if (got == 0) return 0;
    if (archive_write_data(o.archive, o.content, (size_t)got) < 0) return refused(path);
    size -= (uint64_t)got;
  }
  return 0;
}

/* Takes over `fd`. */
static int add_file(struct archive_entry *entry, const char *path, int fd) {
  struct archive_entry *spare = NULL;
  archive_entry_linkify(o.links, &entry, &spare);
  int result = write_header(entry, path);
  if (result == 0 && !archive_entry_hardlink(entry)) result = write_content(path, fd, (uint64_t)archive_entry_size(entry));
  close(fd);
  return result;
}

/* It has gone, or cannot be read by anybody: whoever lists files must live with that. */
static bool is_passed_over(int error) {
  return error == ENOENT || error == ENOTDIR || error == ELOOP || error == ENXIO || error == EACCES || error == EPERM ||
         error == ENODEV || error == ESTALE;
}

static int add(struct archive_entry *entry, int directory, const char *name, const char *path, int *below) {
  struct stat st;
  char link[PATH_MAX];
  if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return is_passed_over(errno) ? 0 : fail_errno("'%.200s'", path);
  mode_t type = st.st_mode & S_IFMT;
  if (type == S_IFSOCK) return 0;
  int fd = -1;
  if (type == S_IFREG || type == S_IFDIR) {
    fd = find_content(directory, name, type, &st);
    if (fd < 0) return is_passed_over(errno) ? 0 : fail_errno("'%.200s': opening", path);
    take_attributes(entry, fd);
  } else if (type == S_IFLNK) {
    ssize_t length = readlinkat(directory, name, link, sizeof link - 1);
    if (length < 0) return is_passed_over(errno) ? 0 : fail_errno("'%.200s'", path);
    link[length] = 0;
    archive_entry_copy_symlink(entry, link);
  }
  take_stat(entry, &st);
  archive_entry_copy_pathname(entry, path);
  if (type == S_IFREG) return add_file(entry, path, fd);
  archive_entry_set_size(entry, 0);
  *below = fd;
  return write_header(entry, path);
}

int output_add(int directory, const char *name, const char *path, int *below) {
  struct archive_entry *entry = archive_entry_new();
  *below = -1;
  if (!entry) return fail(KIND_EXHAUSTED, "no memory");
  int result = add(entry, directory, name, path, below);
  archive_entry_free(entry);
  if (result < 0 && *below >= 0) close(*below);
  return result;
}

int output_add_mark(const char *path, const struct stat *like) {
  struct archive_entry *entry = archive_entry_new();
  if (!entry) return fail(KIND_EXHAUSTED, "no memory");
  archive_entry_copy_pathname(entry, path);
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_entry_set_perm(entry, 0600);
  archive_entry_set_uid(entry, like->st_uid);
  archive_entry_set_gid(entry, like->st_gid);
  archive_entry_set_mtime(entry, like->st_mtime, 0);
  archive_entry_set_size(entry, 0);
  int result = write_header(entry, path);
  archive_entry_free(entry);
  return result;
}
