/*
 * HTTP on a client's connection that the manager has lent: the body of a request, read as it comes, or that of an answer,
 * written in chunks. Others have the same connection open, so it stays as they have set it: not blocking.
 */
#include "confine.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* What a line of chunked coding may hold, and how many may follow the last chunk; as the manager's own reader has it. */
#define LINE_BYTES_MAX 1024
#define TRAILERS_MAX 100
#define SIZE_DIGITS_MAX 12

static struct {
  bool given, chunked, inside, ended, begun;
  /* Where bytes come from: first what others had read of the connection, then the connection. */
  int source;
  /* Of the chunk, or of the body. */
  uint64_t left;
  size_t at, length;
  unsigned char raw[128 * 1024];
} c;

void connection_begin(void) {
  c.given = true;
  c.chunked = true;
}

void connection_body_bytes(uint64_t length) {
  c.chunked = false;
  c.left = length;
}

bool connection_given(void) { return c.given; }

static int wait_for(short events) {
  struct pollfd connection = {.fd = CONNECTION, .events = events};
  return poll(&connection, 1, -1) < 0 && errno != EINTR ? fail_errno("waiting for the client") : 0;
}

/* ---- a request */

static int fill(void) {
  for (;;) {
    ssize_t got = read(c.source, c.raw, sizeof c.raw);
    if (got > 0) {
      c.at = 0;
      c.length = (size_t)got;
      return 0;
    }
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {
      if (wait_for(POLLIN) < 0) return -1;
      continue;
    }
    if (got < 0) return fail_errno("reading from the client");
    if (c.source == CONNECTION) return fail(KIND_INVALID, "the request's body is cut short");
    c.source = CONNECTION;
  }
}

static int malformed(void) { return fail(KIND_INVALID, "the request's chunks are malformed"); }

/* Without its end. */
static int read_line(char line[LINE_BYTES_MAX]) {
  for (size_t length = 0; length < LINE_BYTES_MAX; length++) {
    if (c.at == c.length && fill() < 0) return -1;
    line[length] = (char)c.raw[c.at++];
    if (line[length] != '\n') continue;
    if (length > 0 && line[length - 1] == '\r') length--;
    line[length] = 0;
    return 0;
  }
  return malformed();
}

/* Digits, and perhaps an extension, which is not looked at. */
static int parse_size(const char *line, uint64_t *size) {
  size_t digits = strspn(line, "0123456789abcdefABCDEF");
  const char *rest = line + digits + strspn(line + digits, " \t");
  if (digits == 0 || digits > SIZE_DIGITS_MAX || (*rest != 0 && *rest != ';')) return malformed();
  *size = 0;
  for (size_t i = 0; i < digits; i++) {
    char digit = line[i];
    *size = *size << 4 | (uint64_t)(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
  }
  return 0;
}

/* To where the next chunk's bytes begin, or the body has ended. */
static int next_chunk(void) {
  char line[LINE_BYTES_MAX];
  if (c.inside && (read_line(line) < 0 || *line != 0)) return malformed();
  if (read_line(line) < 0 || parse_size(line, &c.left) < 0) return -1;
  c.inside = true;
  if (c.left > 0) return 0;
  for (int lines = 0; lines <= TRAILERS_MAX; lines++) {
    if (read_line(line) < 0) return -1;
    if (*line != 0) continue;
    c.ended = true;
    return 0;
  }
  return malformed();
}

static long read_part(unsigned char *to, size_t room) {
  if (c.left == 0 && c.chunked && !c.ended && next_chunk() < 0) return -1;
  if (c.left == 0) return 0;
  if (c.at == c.length && fill() < 0) return -1;
  size_t part = c.length - c.at;
  if (part > room) part = room;
  if (part > c.left) part = (size_t)c.left;
  memcpy(to, c.raw + c.at, part);
  c.at += part;
  c.left -= part;
  return (long)part;
}

long connection_read(void *to, size_t room) {
  size_t length = 0;
  // Of small chunks, as many as are here.
  do {
    long part = read_part((unsigned char *)to + length, room - length);
    if (part < 0) return -1;
    if (part == 0) break;
    length += (size_t)part;
  } while (length < room && c.at < c.length);
  return (long)length;
}

/* ---- an answer */

/* Its head is the manager's, and goes first: a byte on stdin says that it has gone. */
static int await_head(void) {
  char byte;
  ssize_t got;
  do got = read(0, &byte, 1);
  while (got < 0 && errno == EINTR);
  if (got != 1) return fail(KIND_INTERNAL, "nobody waits for the archive any more");
  c.begun = true;
  return 0;
}

static int write_all(struct iovec *parts, int count) {
  while (count > 0) {
    ssize_t written = writev(CONNECTION, parts, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) {
      if (wait_for(POLLOUT) < 0) return -1;
      continue;
    }
    if (written < 0) return fail_errno("writing to the client");
    for (; count > 0 && (size_t)written >= parts->iov_len; parts++, count--) written -= (ssize_t)parts->iov_len;
    if (count == 0) break;
    parts->iov_base = (char *)parts->iov_base + written;
    parts->iov_len -= (size_t)written;
  }
  return 0;
}

int connection_write(const void *bytes, size_t length) {
  char head[32];
  // An empty chunk would be the end, and that is the manager's to tell.
  if (length == 0) return 0;
  if (!c.begun && await_head() < 0) return -1;
  struct iovec parts[] = {{head, (size_t)snprintf(head, sizeof head, "%zx\r\n", length)}, {(void *)bytes, length}, {"\r\n", 2}};
  return write_all(parts, 3);
}
