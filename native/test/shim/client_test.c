#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../include/spec.h"
#include "../../shim/client.h"
#include "../../shim/frames.h"
#include "check.h"

/* A connection under test, and its other end. */
static struct client client;
static uint8_t input[CLIENT_INPUT];
static int other;

static void begin(void) {
  int pair[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
  client = (struct client){.fd = -1, .input = input};
  client_take(&client, pair[0]);
  other = pair[1];
}

static void end(void) {
  if (client.fd >= 0) client_drop(&client);
  close(other);
}

/* Reads all there is, letting the connection send on; counts output bytes, and checks that they come in order. */
static uint64_t read_output(int *detached, int *ended) {
  static uint8_t bytes[FRAME_HEADER + 65536];
  static uint8_t expected;
  size_t used = 0;
  uint64_t total = 0, wrong = 0;
  expected = *detached = *ended = 0;
  for (;;) {
    ssize_t got = recv(other, bytes + used, sizeof bytes - used, MSG_DONTWAIT);
    if (got == 0) *ended = 1;
    if (got <= 0 && (client.fd < 0 || queue_used(&client.queue) == 0)) {
      CHECK(wrong == 0);
      return total;
    }
    if (got > 0) used += (size_t)got;
    else client_flush(&client);
    size_t done = 0;
    for (;;) {
      uint32_t size;
      uint16_t type;
      if (used - done < FRAME_HEADER) break;
      memcpy(&size, bytes + done, 4);
      memcpy(&type, bytes + done + 4, 2);
      if (used - done - FRAME_HEADER < size) break;
      if (type == FRAME_DETACHED) *detached = 1;
      for (uint32_t i = 1; type == FRAME_OUTPUT && i < size; i++)
        wrong += bytes[done + FRAME_HEADER + i] != expected++;
      if (type == FRAME_OUTPUT) total += size - 1;
      done += FRAME_HEADER + size;
    }
    memmove(bytes, bytes + done, used - done);
    used -= done;
  }
}

static void send_output(uint32_t pieces, uint32_t size, int last) {
  static uint8_t piece[LOG_PIECE], next;
  next = 0;
  for (uint32_t i = 0; i < pieces && client.fd >= 0; i++) {
    for (uint32_t at = 0; at < size; at++) piece[at] = next++;
    if (client_output(&client, 1, piece, size, last)) client_detach(&client);
  }
}

/* What a reader is behind with waits for it, and comes whole and in order. */
static void test_waiting(void) {
  static const uint32_t sizes[] = {1, 100, 4095, LOG_PIECE};
  for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    int detached, ended;
    begin();
    CHECK(queue_open(&client.queue) == 0);
    uint32_t pieces = 400000 / (sizes[i] + FRAME_HEADER + 1);
    send_output(pieces, sizes[i], 0);
    CHECK(read_output(&detached, &ended) == (uint64_t)pieces * sizes[i] && !detached && !ended);
    CHECK(client.fd >= 0 && queue_used(&client.queue) == 0);
    end();
  }
}

/* One that is too far behind gets what is there, is told, and is let go. */
static void test_detaching(void) {
  int detached, ended;
  begin();
  CHECK(queue_open(&client.queue) == 0);
  send_output(200, LOG_PIECE, 0);
  CHECK(client.fd >= 0 && client.leaving && queue_used(&client.queue) <= OUTPUT_MAX + 64);
  uint64_t total = read_output(&detached, &ended);
  CHECK(total > 0 && total < 200 * LOG_PIECE && total % LOG_PIECE == 0 && detached);
  CHECK(client.fd < 0);
  end();
}

/* A process's last words have room where more output would have none. */
static void test_last_words(void) {
  int detached, ended;
  begin();
  CHECK(queue_open(&client.queue) == 0);
  send_output(20, LOG_PIECE, 0);
  CHECK(read_output(&detached, &ended) == 20 * LOG_PIECE);
  send_output(150, LOG_PIECE, 1);
  CHECK(!client.leaving && read_output(&detached, &ended) == 150 * LOG_PIECE && !detached);
  end();
}

/* Without a queue there is nothing to wait in. */
static void test_dropping(void) {
  uint8_t payload[256] = {0};
  begin();
  for (int i = 0; i < 100000 && client.fd >= 0; i++) client_send(&client, FRAME_STARTED, 0, payload, sizeof payload);
  CHECK(client.fd < 0);
  end();
}

static void test_uploads(void) {
  struct upload upload = {0};
  uint8_t bytes[64];
  memset(bytes, 7, sizeof bytes);
  CHECK(upload_add(&upload, 0, 100, bytes, 64) == 0);
  CHECK(upload_add(&upload, 64, 100, bytes, 36) == 1 && upload.bytes[99] == 7);
  CHECK(upload_add(&upload, 0, 10, bytes, 10) == 1); /* anew */
  static const uint32_t refused[][4] = {
      /* offset, size, count */
      {0, 0, 0},  {0, 10, 11}, {0, SPEC_SIZE_MAX + 8, 8}, {5, 10, 5},
      {11, 10, 1}, {0xffffffff, 10, 64}, {0, 0xffffffff, 64},
  };
  for (unsigned i = 0; i < sizeof refused / sizeof *refused; i++) {
    upload_drop(&upload);
    CHECK(upload_add(&upload, refused[i][0], refused[i][1], bytes, refused[i][2]) == -1 && errno == EINVAL);
  }
  CHECK(upload_add(&upload, 0, 100, bytes, 10) == 0);
  CHECK(upload_add(&upload, 10, 200, bytes, 10) == -1); /* another size in the middle */
  CHECK(upload_add(&upload, 9, 100, bytes, 10) == -1);
  upload_drop(&upload);
}

void test_client(void) {
  test_waiting();
  test_detaching();
  test_last_words();
  test_dropping();
  test_uploads();
}
