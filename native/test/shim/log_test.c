#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <signal.h>

#include "../../shim/log.h"
#include "check.h"

static char directory[64];
static struct log logs;
static struct log_stream out, err;
static uint8_t stage[LOG_STAGE], lines[2][LOG_PIECE];

static void begin(uint64_t segment, uint64_t count) {
  strcpy(directory, "/tmp/ts-core-log-XXXXXX");
  CHECK(mkdtemp(directory) != NULL);
  log_init(&logs, open(directory, O_PATH | O_DIRECTORY), segment, count);
  logs.stage = stage;
  out = (struct log_stream){.stream = LOG_STDOUT, .line = lines[0]};
  err = (struct log_stream){.stream = LOG_STDERR, .line = lines[1]};
}

static void end(void) {
  char command[128];
  close(logs.container_dir);
  close(logs.dir);
  close(logs.fd);
  snprintf(command, sizeof command, "rm -rf '%s'", directory);
  CHECK(system(command) == 0);
}

/* Reads a segment whole. Returns its size. */
static size_t segment(uint64_t first, uint8_t *to, size_t room) {
  char path[128];
  snprintf(path, sizeof path, "%s/log/%016lx", directory, (unsigned long)first);
  int fd = open(path, O_RDONLY);
  ssize_t got = fd < 0 ? 0 : read(fd, to, room);
  if (fd >= 0) close(fd);
  return got > 0 ? (size_t)got : 0;
}

/* The record at *at: its header in `record`; the payload's place. */
static const uint8_t *next(const uint8_t *bytes, size_t *at, struct log_record *record) {
  memcpy(record, bytes + *at, sizeof *record);
  const uint8_t *payload = bytes + *at + sizeof *record;
  *at += sizeof *record + record->length;
  return payload;
}

static void add(struct log_stream *stream, const char *text, uint64_t time) {
  log_bytes(&logs, stream, (const uint8_t *)text, (uint32_t)strlen(text), time);
}

static void test_lines(void) {
  uint8_t bytes[4096];
  struct log_record record;
  size_t at = 0;
  begin(1 << 20, 4);
  add(&out, "one\ntw", 10);
  add(&err, "error\n", 11);
  add(&out, "o\n\nlast", 12);
  log_end(&logs, &out, 13);
  size_t size = segment(0, bytes, sizeof bytes);
  const char *lines[] = {"one", "error", "two", "", "last"};
  for (int i = 0; i < 5; i++) {
    const uint8_t *payload = next(bytes, &at, &record);
    CHECK(record.magic == LOG_MAGIC && record.flags == (i == 4 ? LOG_OPEN : 0) && record.stream == (i == 1 ? LOG_STDERR : LOG_STDOUT));
    CHECK(record.length == strlen(lines[i]) && !memcmp(payload, lines[i], record.length));
  }
  CHECK(at == size && record.time_ns == 13 && logs.next == 5);
  end();
}

/* A line of any length is cut into pieces of 16 KiB; one of exactly that length is whole. */
static void test_pieces(void) {
  static uint8_t line[40000], bytes[65536];
  struct log_record record;
  memset(line, 'x', sizeof line);
  static const uint32_t chunks[] = {1, 100, 16383, 16384, 16385, 40000};
  for (unsigned c = 0; c < sizeof chunks / sizeof *chunks; c++) {
    for (uint32_t length = 16383; length <= 32769; length += length == 16385 ? 16382 : 1) {
      size_t at = 0;
      begin(1 << 20, 4);
      for (uint32_t done = 0; done < length; done += chunks[c])
        log_bytes(&logs, &out, line, length - done < chunks[c] ? length - done : chunks[c], 1);
      add(&out, "\n", 1);
      log_flush(&logs);
      size_t size = segment(0, bytes, sizeof bytes);
      uint32_t total = 0, pieces = 0;
      while (at < size) {
        next(bytes, &at, &record);
        CHECK(record.length <= LOG_PIECE);
        total += record.length;
        pieces++;
        CHECK((record.flags == LOG_PARTIAL) == (at < size));
      }
      CHECK(total == length && pieces == (length + LOG_PIECE - 1) / LOG_PIECE);
      end();
    }
  }
}

static void test_rotation(void) {
  uint8_t bytes[4096];
  begin(100, 3); /* 100 bytes: four records of 26 */
  for (int i = 0; i < 40; i++) {
    add(&out, "0123456789\n", 1);
    log_flush(&logs);
  }
  CHECK(segment(0, bytes, sizeof bytes) == 0 && segment(24, bytes, sizeof bytes) == 0); /* deleted */
  CHECK(segment(28, bytes, sizeof bytes) == 104 && segment(32, bytes, sizeof bytes) == 104);
  CHECK(segment(36, bytes, sizeof bytes) == 104 && logs.next == 40);
  end();
}

/* What comes in one burst is kept within the same bounds. */
static void test_burst(void) {
  uint8_t bytes[4096];
  static char text[40 * 11 + 1];
  for (int i = 0; i < 40; i++) memcpy(text + (size_t)i * 11, "0123456789\n", 11);
  begin(100, 1);
  add(&out, text, 1);
  log_flush(&logs);
  CHECK(logs.next == 40 && logs.segments == 1 && segment(36, bytes, sizeof bytes) == 104);
  CHECK(segment(0, bytes, sizeof bytes) == 0 && segment(32, bytes, sizeof bytes) == 0);
  add(&out, "0123456789\n0123456789\n", 1);
  log_flush(&logs);
  CHECK(logs.segments == 1 && segment(40, bytes, sizeof bytes) == 52 && segment(36, bytes, sizeof bytes) == 0);
  add(&out, text, 1);
  log_flush(&logs);
  CHECK(logs.next == 82 && segment(40, bytes, sizeof bytes) == 0 && segment(80, bytes, sizeof bytes) == 52);
  end();
}

/* Disk full: nothing half is left, what is lost is counted, and the count is the next thing written. */
static void test_full(void) {
  uint8_t bytes[8192];
  struct log_record record;
  size_t at = 0;
  struct rlimit before, limit;
  begin(1 << 20, 4);
  add(&out, "first\n", 1);
  log_flush(&logs);
  getrlimit(RLIMIT_FSIZE, &before);
  limit = (struct rlimit){.rlim_cur = 30, .rlim_max = before.rlim_max};
  signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &limit);
  add(&out, "lost\nlost too\n", 2);
  log_flush(&logs);
  setrlimit(RLIMIT_FSIZE, &before);
  CHECK(logs.lost == 2 && segment(0, bytes, sizeof bytes) == 21);
  add(&out, "again\n", 3);
  log_flush(&logs);
  CHECK(segment(0, bytes, sizeof bytes) == 21 + 24 + 21);
  next(bytes, &at, &record);
  uint64_t count;
  memcpy(&count, next(bytes, &at, &record), sizeof count);
  CHECK(record.flags == LOG_GAP && count == 2 && logs.next == 3);
  end();
}

/* A container that is started again goes on behind the log it has, whatever a power cut has left at its end. */
static void test_going_on(void) {
  static const uint8_t rubbish[] = {0x54, 0x47, 1, 0, 200, 0, 0, 0, 1, 2, 3};
  uint8_t bytes[4096];
  uint64_t position[3];
  for (int torn = 0; torn < 2; torn++) {
    begin(100, 3);
    for (int i = 0; i < 22; i++) {
      add(&out, "0123456789\n", 1);
      log_flush(&logs);
    }
    if (torn) CHECK(write(logs.fd, rubbish, sizeof rubbish) == sizeof rubbish);
    int dir = logs.container_dir;
    close(logs.fd);
    close(logs.dir);
    log_init(&logs, dir, 100, 3);
    log_position(&logs, position);
    CHECK(position[0] == 20 && position[1] == 52 && position[2] == 22);
    for (int i = 0; i < 4; i++) {
      add(&out, "again\n", 2);
      log_flush(&logs);
    }
    /* Two more of 21 bytes and it is full; the first segment goes when a fourth is begun. */
    CHECK(segment(20, bytes, sizeof bytes) == 52 + 3 * 21 && segment(25, bytes, sizeof bytes) == 21);
    CHECK(segment(12, bytes, sizeof bytes) == 0 && segment(16, bytes, sizeof bytes) == 104 && logs.next == 26);
    end();
  }
}

/* Whatever lies in the directory. */
static void test_strange_files(void) {
  static const char *names[] = {"0", "00000000000000g0", "00000000000000000", "ffffffffffffffff.x", "notes"};
  char path[128];
  begin(100, 3);
  snprintf(path, sizeof path, "%s/log", directory);
  CHECK(mkdir(path, 0700) == 0);
  for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
    snprintf(path, sizeof path, "%s/log/%s", directory, names[i]);
    close(open(path, O_CREAT | O_WRONLY, 0600));
  }
  for (unsigned i = 0; i < LOG_SEGMENTS_MAX + 10; i++) {
    snprintf(path, sizeof path, "%s/log/%016x", directory, (i * 37) % 1024);
    close(open(path, O_CREAT | O_WRONLY, 0600));
  }
  int dir = logs.container_dir;
  log_init(&logs, dir, 100, 3);
  CHECK(logs.segments == LOG_SEGMENTS_MAX);
  for (uint32_t i = 1; i < logs.segments; i++) CHECK(logs.first[i - 1] < logs.first[i]);
  CHECK(logs.next == logs.first[logs.segments - 1]);
  end();
}

void test_log(void) {
  test_lines();
  test_pieces();
  test_rotation();
  test_burst();
  test_full();
  test_going_on();
  test_strange_files();
}
