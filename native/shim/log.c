#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "text.h"

static void segment_name(char name[17], uint64_t first) {
  struct text text;
  text_init(&text, name, 17);
  text_hex16(&text, first);
}

/* 16 hexadecimal digits. 0, or -1. */
static int parse_name(const char *name, uint64_t *first) {
  *first = 0;
  for (int i = 0; i < 16; i++) {
    const char *digit = name[i] ? strchr("0123456789abcdef", name[i]) : 0;
    if (!digit) return -1;
    *first = *first << 4 | (uint64_t)(digit - "0123456789abcdef");
  }
  return name[16] ? -1 : 0;
}

/* Keeps the list in order. Past its bound the oldest are forgotten, not deleted: it cannot happen by our own hand. */
static void add_segment(struct log *log, uint64_t first) {
  if (log->segments == LOG_SEGMENTS_MAX) {
    if (first < log->first[0]) return;
    memmove(log->first, log->first + 1, --log->segments * sizeof *log->first);
  }
  uint32_t place = log->segments++;
  for (; place > 0 && log->first[place - 1] > first; place--) log->first[place] = log->first[place - 1];
  log->first[place] = first;
}

static int list_segments(struct log *log) {
  uint8_t bytes[4096];
  long got;
  uint64_t first;
  while ((got = syscall(SYS_getdents64, log->dir, bytes, sizeof bytes)) > 0)
    for (long at = 0; at < got;) { /* struct linux_dirent64 (getdents(2)): size at 16, name from 19 */
      uint16_t length;
      memcpy(&length, bytes + at + 16, sizeof length);
      if (parse_name((const char *)bytes + at + 19, &first) == 0) add_segment(log, first);
      at += length;
    }
  return got < 0 ? -1 : 0;
}

/* Counts the whole records of the last segment. What a power cut has left behind them is cut off. */
static int measure_last(struct log *log) {
  struct log_record record;
  log->next = log->first[log->segments - 1];
  log->size = 0;
  struct stat found;
  if (fstat(log->fd, &found)) return -1;
  while (pread(log->fd, &record, sizeof record, (off_t)log->size) == (ssize_t)sizeof record) {
    uint64_t end = log->size + sizeof record + record.length;
    if (record.magic != LOG_MAGIC || record.length > LOG_PIECE || end > (uint64_t)found.st_size) break;
    log->size = end;
    log->next++;
  }
  return (uint64_t)found.st_size > log->size ? ftruncate(log->fd, (off_t)log->size) : 0;
}

/* 0: goes on in the last segment, or there is none. */
static int open_last(struct log *log) {
  char name[17];
  log->dir = openat(log->container_dir, "log", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (log->dir < 0) return 0;
  if (list_segments(log)) return -1;
  if (log->segments == 0) return 0;
  segment_name(name, log->first[log->segments - 1]);
  log->fd = openat(log->dir, name, O_RDWR | O_APPEND | O_CLOEXEC);
  return log->fd < 0 ? -1 : measure_last(log);
}

void log_init(struct log *log, int container_dir, uint64_t segment_size, uint64_t segment_count) {
  log->container_dir = container_dir;
  log->dir = log->fd = -1;
  log->segment_size = segment_size;
  log->segment_count = segment_count > LOG_SEGMENTS_MAX ? LOG_SEGMENTS_MAX : segment_count;
  log->segments = 0;
  log->size = log->next = log->lost = log->staged_records = 0;
  log->staged = 0;
  if (segment_count > 0) open_last(log); /* one that cannot be read is left behind: the next segment follows the ones that are known */
}

void log_position(const struct log *log, uint64_t position[3]) {
  position[0] = log->segments ? log->first[log->segments - 1] : 0;
  position[1] = log->size;
  position[2] = log->next;
}

/* The first output makes the directory: most short containers say nothing. */
static int open_directory(struct log *log) {
  if (mkdirat(log->container_dir, "log", 0700) && errno != EEXIST) return -1;
  log->dir = openat(log->container_dir, "log", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return log->dir < 0 ? -1 : 0;
}

/* Opens a new segment and deletes from the old end. */
static int rotate(struct log *log) {
  char name[17];
  if (log->dir < 0 && open_directory(log)) return -1;
  segment_name(name, log->next);
  int fd = openat(log->dir, name, O_CREAT | O_TRUNC | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return -1;
  if (log->fd >= 0) close(log->fd);
  log->fd = fd;
  log->size = 0;
  while (log->segments >= log->segment_count) {
    segment_name(name, log->first[0]);
    unlinkat(log->dir, name, 0);
    memmove(log->first, log->first + 1, --log->segments * sizeof log->first[0]);
  }
  log->first[log->segments++] = log->next;
  return 0;
}

/* Appends whole records. A short write is taken back, so that a segment never ends in half a record. */
static int append(struct log *log, const void *bytes, uint32_t size) {
  if ((log->fd < 0 || log->size >= log->segment_size) && rotate(log)) return -1;
  ssize_t written = write(log->fd, bytes, size);
  if (written == (ssize_t)size) {
    log->size += size;
    return 0;
  }
  if (written > 0 && ftruncate(log->fd, (off_t)log->size)) {
    close(log->fd); /* the rest of this segment cannot be trusted: go on in another */
    log->fd = -1;
  }
  return -1;
}

static int append_gap(struct log *log, uint64_t time_ns) {
  struct {
    struct log_record header;
    uint64_t count;
  } gap = {{LOG_MAGIC, LOG_STDOUT, LOG_GAP, sizeof gap.count, time_ns}, log->lost};
  if (append(log, &gap, sizeof gap)) return -1;
  log->next++;
  log->lost = 0;
  return 0;
}

void log_flush(struct log *log) {
  if (log->staged == 0) return;
  struct log_record first;
  memcpy(&first, log->stage, sizeof first);
  if ((log->lost && append_gap(log, first.time_ns)) || append(log, log->stage, log->staged))
    log->lost += log->staged_records;
  else
    log->next += log->staged_records;
  log->staged = 0;
  log->staged_records = 0;
}

/* Whether what is staged fills a segment up: however much comes at once, none grows past its bound by more than a record. */
static int is_full(const struct log *log) {
  uint64_t written = log->fd < 0 || log->size >= log->segment_size ? 0 : log->size;
  return written + log->staged >= log->segment_size;
}

static void stage(struct log *log, uint8_t stream, uint8_t flags, const uint8_t *head, uint32_t head_size,
                  const uint8_t *tail, uint32_t tail_size, uint64_t time_ns) {
  struct log_record record = {LOG_MAGIC, stream, flags, head_size + tail_size, time_ns};
  if (log->staged + sizeof record + record.length > LOG_STAGE || is_full(log)) log_flush(log);
  uint8_t *at = log->stage + log->staged;
  memcpy(at, &record, sizeof record);
  memcpy(at + sizeof record, head, head_size);
  memcpy(at + sizeof record + head_size, tail, tail_size);
  log->staged += (uint32_t)sizeof record + record.length;
  log->staged_records++;
}

void log_bytes(struct log *log, struct log_stream *stream, const uint8_t *bytes, uint32_t count, uint64_t time_ns) {
  if (log->segment_count == 0) return;
  while (count > 0) {
    uint32_t room = LOG_PIECE - stream->used;
    /* A newline right behind a full piece still ends this line: one byte further is looked at. */
    uint32_t look = count < room + 1 ? count : room + 1;
    const uint8_t *newline = memchr(bytes, '\n', look);
    if (newline) {
      uint32_t length = (uint32_t)(newline - bytes);
      stage(log, stream->stream, 0, stream->line, stream->used, bytes, length, time_ns);
      stream->used = 0;
      bytes += length + 1;
      count -= length + 1;
    } else if (count > room) {
      stage(log, stream->stream, LOG_PARTIAL, stream->line, stream->used, bytes, room, time_ns);
      stream->used = 0;
      bytes += room;
      count -= room;
    } else {
      memcpy(stream->line + stream->used, bytes, count);
      stream->used += count;
      return;
    }
  }
}

void log_end(struct log *log, struct log_stream *stream, uint64_t time_ns) {
  if (stream->used > 0) stage(log, stream->stream, LOG_OPEN, stream->line, stream->used, stream->line, 0, time_ns);
  stream->used = 0;
  log_flush(log);
}
