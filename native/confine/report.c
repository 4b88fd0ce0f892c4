#include "confine.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct {
  const char *kind;
  char message[1024];
} failure;

static void keep(const char *kind, const char *format, va_list args, int error) {
  if (failure.kind) return;
  failure.kind = kind;
  int length = vsnprintf(failure.message, sizeof failure.message, format, args);
  if (!error || length < 0 || (size_t)length >= sizeof failure.message) return;
  // As Docker's own messages have it: "not a directory".
  const char *text = strerror(error);
  snprintf(failure.message + length, sizeof failure.message - (size_t)length, ": %c%s", tolower(*text), text + 1);
}

int fail(const char *kind, const char *format, ...) {
  va_list args;
  va_start(args, format);
  keep(kind, format, args, 0);
  va_end(args);
  return -1;
}

static const char *kind_of(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EFBIG:
    case EMFILE:
      return KIND_EXHAUSTED;
    case ENAMETOOLONG:
    case EINVAL:
    case EILSEQ:
    case ENOTDIR:
    case EROFS:
    case EBUSY: /* something is mounted there */
    case ELOOP:
      return KIND_INVALID;
    case ENOENT:
      return KIND_NOT_FOUND;
    default:
      return KIND_INTERNAL;
  }
}

int fail_errno(const char *format, ...) {
  int error = errno;
  va_list args;
  va_start(args, format);
  keep(kind_of(error), format, args, error);
  va_end(args);
  return -1;
}

int failed(void) { return failure.kind != NULL; }

void report_line(int fd, const char *line, size_t length) {
  while (length > 0) {
    ssize_t written = write(fd, line, length);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    line += written;
    length -= (size_t)written;
  }
}

size_t report_escape(char *to, const char *text) {
  size_t at = 0;
  for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
    if (*c < 0x20 || *c == 0x7f || *c == '"' || *c == '\\')
      at += (size_t)sprintf(to + at, "\\u%04x", *c);
    else
      to[at++] = (char)*c;
  }
  return at;
}

void report_failure(int fd) {
  char line[8 * sizeof failure.message];
  const char *kind = failure.kind ? failure.kind : KIND_INTERNAL;
  size_t at = (size_t)snprintf(line, sizeof line, "{\"ok\":false,\"kind\":\"%s\",\"message\":\"", kind);
  // Names come from the archive, or from a container.
  at += report_escape(line + at, failure.message);
  memcpy(line + at, "\"}\n", 3);
  report_line(fd, line, at + 3);
}
