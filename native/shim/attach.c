#include "attach.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* Pieces read from one stream before others have their turn. */
#define PIECES_AT_ONCE 4
/* How often stdout may go on before stderr has a turn all the same. */
#define TURNS_MAX 64
/* How long the last words of a terminal may take to come through the kernel's own queue, in ms. */
#define TERMINAL_FLUSH_MS 100

static int is_attached(const struct client *client, uint32_t process) {
  return client->fd >= 0 && client->attached && client->process == process;
}

static void add_line(struct client *client, const struct log_stream *stream) {
  if (client->flags & ATTACH_LINE && client->flags & stream->stream && stream->used)
    client_output(client, stream->stream, stream->line, stream->used, 0);
}

void attach_begin(struct shim *shim, struct client *client, const struct frame *frame, uint32_t process) {
  uint32_t flags;
  if (frame->size != 8) return client_error(client, frame->id, EINVAL, "attach");
  memcpy(&flags, frame->payload + 4, 4);
  if (!shim_process(shim, process)) return client_error(client, frame->id, ESRCH, "the process has ended");
  if (client->attached) return client_error(client, frame->id, EALREADY, "attached already");
  if (queue_open(&client->queue)) return client_error(client, frame->id, errno, "attach");
  client->attached = 1;
  client->process = process;
  client->flags = flags;
  /* What is not in the log yet has not been passed on either: both go on from here. */
  log_flush(&shim->log);
  uint64_t position[3] = {0};
  if (process == 0) log_position(&shim->log, position);
  client_send(client, FRAME_POSITION, frame->id, position, sizeof position);
  if (process > 0 || client->fd < 0) return;
  add_line(client, &shim->out);
  add_line(client, &shim->err);
}

/* What is typed ahead of a start waits for the terminal, which the container's own process makes. */
static int awaits_terminal(const struct shim *shim, const struct process *process) {
  struct spec_record flags;
  if (process->number || shim->state != SHIM_CREATED || process->streams.master >= 0) return 0;
  spec_find(&shim->spec, SPEC_FLAGS, &flags);
  uint64_t both = SPEC_FLAG_TTY | SPEC_FLAG_STDIN;
  return (spec_number(&flags, 0) & both) == both;
}

int attach_stdin(struct shim *shim, struct client *client, const struct frame *frame) {
  struct process *process = client->attached ? shim_process(shim, client->process) : 0;
  int input = process ? process->streams.input : -1;
  if (process && awaits_terminal(shim, process)) return 0;
  while (input >= 0 && client->stdin_done < frame->size) {
    ssize_t written = write(input, frame->payload + client->stdin_done, frame->size - client->stdin_done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EAGAIN) return 0;
    if (written < 0) {
      client->stdin_done = 0;
      return client_error(client, frame->id, errno, "stdin"), 1;
    }
    client->stdin_done += (uint32_t)written;
  }
  client->stdin_done = 0;
  if (!client->attached) client_error(client, frame->id, ENOTCONN, "not attached");
  else if (input < 0) client_error(client, frame->id, EPIPE, "stdin is closed");
  else client_send(client, FRAME_OK, frame->id, 0, 0);
  return 1;
}

void attach_close_stdin(struct shim *shim, struct client *client, const struct frame *frame) {
  struct process *process = client->attached ? shim_process(shim, client->process) : 0;
  if (!client->attached) return client_error(client, frame->id, ENOTCONN, "not attached");
  if (process) streams_close_input(&process->streams);
  client_send(client, FRAME_OK, frame->id, 0, 0);
}

/* A container's log has what one that is behind is not sent: it is told from where on. */
static void detach(struct shim *shim, struct client *client) {
  uint64_t position[3];
  log_flush(&shim->log);
  log_position(&shim->log, position);
  struct {
    uint64_t record;
    uint32_t out, err; /* of unfinished lines, which are yet to become records */
  } resume = {position[2], shim->out.used, shim->err.used};
  if (client->process == 0) client_send(client, FRAME_RESUME, 0, &resume, sizeof resume);
  if (client->fd >= 0) client_detach(client);
}

static void pass_on(struct shim *shim, uint32_t process, uint8_t stream, const uint8_t *bytes, uint32_t count, int last) {
  for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
    struct client *client = &shim->clients[i];
    if (is_attached(client, process) && (client->flags & stream) && client_output(client, stream, bytes, count, last))
      detach(shim, client);
  }
}

static void end_stream(struct shim *shim, struct process *process, int *fd, struct log_stream *log) {
  struct timespec now = wall_time();
  if (process->number == 0) log_end(&shim->log, log, nanoseconds(&now));
  if (*fd >= 0 && *fd != process->streams.master) close(*fd);
  *fd = -1;
}

/* 1: there may be more; 0: not now; -1: never again. */
static int read_piece(struct shim *shim, struct process *process, int fd, struct log_stream *log, int last) {
  uint8_t bytes[LOG_PIECE];
  ssize_t got = read(fd, bytes, sizeof bytes);
  if (got < 0 && errno == EINTR) return 1;
  if (got < 0 && errno == EAGAIN) return 0;
  if (got <= 0) return -1;
  struct timespec now = wall_time();
  /* Before the log has it: whoever is detached by it has been given just what the log has. */
  pass_on(shim, process->number, log->stream, bytes, (uint32_t)got, last);
  if (process->number == 0) log_bytes(&shim->log, log, bytes, (uint32_t)got, nanoseconds(&now));
  return 1;
}

/* Whether there may be more. */
static int read_stream(struct shim *shim, struct process *process, int *fd, struct log_stream *log) {
  for (int i = 0; i < PIECES_AT_ONCE && !attach_holds(shim, process->number); i++) {
    int more = read_piece(shim, process, *fd, log, 0);
    if (more < 0) end_stream(shim, process, fd, log);
    if (more <= 0) return 0;
  }
  return 1;
}

/* Whatever is there now. All of a container's processes are gone then, but a copy of the end may not be. */
static void drain(struct shim *shim, struct process *process, int *fd, struct log_stream *log) {
  int is_terminal = *fd >= 0 && *fd == process->streams.master;
  while (*fd >= 0) {
    int more = read_piece(shim, process, *fd, log, 1);
    if (more > 0) continue;
    /* Bytes reach a terminal's master a little after they were written, its end certainly after them. */
    struct pollfd readable = {.fd = *fd, .events = POLLIN};
    if (more == 0 && is_terminal && poll(&readable, 1, TERMINAL_FLUSH_MS) > 0) continue;
    end_stream(shim, process, fd, log);
  }
  if (process->number == 0) end_stream(shim, process, fd, log); /* its last line may still be open */
}

void attach_read(struct shim *shim, struct process *process, int last) {
  static struct log_stream named[2] = {{.stream = LOG_STDOUT}, {.stream = LOG_STDERR}};
  struct streams *streams = &process->streams;
  struct log_stream *out = process->number ? &named[0] : &shim->out, *err = process->number ? &named[1] : &shim->err;
  if (last) {
    if (streams->slave >= 0) close(streams->slave);
    streams->slave = -1;
    drain(shim, process, &streams->output, out);
    drain(shim, process, &streams->error_output, err);
    return;
  }
  /* What was said last on stderr is not to come before what stdout still holds from before it. */
  int more = streams->output >= 0 && read_stream(shim, process, &streams->output, out);
  if (more && ++process->turns < TURNS_MAX) return;
  process->turns = 0;
  if (streams->error_output >= 0) read_stream(shim, process, &streams->error_output, err);
}

static uint64_t monotonic_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int holds(const struct client *client) {
  return client->fd >= 0 && client->attached && (client->flags & ATTACH_WAIT) && !client->leaving &&
         client_is_full(client);
}

/* Of one that holds: how long it may still go on taking nothing, in ms; -1: for ever. */
static int patience_left(struct client *client) {
  uint64_t most = (uint64_t)(client->flags >> ATTACH_PATIENCE_SHIFT) * ATTACH_PATIENCE_UNIT_MS, now = monotonic_ms();
  if (!client->full_since) client->full_since = now;
  if (!most) return -1;
  uint64_t spent = now - client->full_since;
  return spent < most ? (int)(most - spent) : 0;
}

int attach_holds(struct shim *shim, uint32_t process) {
  int held = 0;
  for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
    struct client *client = &shim->clients[i];
    if (client->process != process || !holds(client)) continue;
    /* From now on it is in nobody's way: what comes next detaches it. */
    if (patience_left(client) == 0) client->flags &= ~ATTACH_WAIT;
    else held = 1;
  }
  return held;
}

int attach_patience(struct shim *shim) {
  int least = -1;
  for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
    if (!holds(&shim->clients[i])) continue;
    int left = patience_left(&shim->clients[i]);
    if (left >= 0 && (least < 0 || left < least)) least = left;
  }
  return least;
}

int attach_wants_input(const struct shim *shim, uint32_t process) {
  for (uint32_t i = 0; i < CLIENTS_MAX; i++)
    if (is_attached(&shim->clients[i], process) && shim->clients[i].blocked) return 1;
  return 0;
}

void attach_tell(struct shim *shim, uint32_t process, uint16_t type, const void *payload, uint32_t size) {
  for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
    struct client *client = &shim->clients[i];
    if (client->fd >= 0 && !client->leaving && (client->subscribed || is_attached(client, process)))
      client_send(client, type, 0, payload, size);
  }
}

void attach_end(struct shim *shim, uint32_t process) {
  for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
    struct client *client = &shim->clients[i];
    if (!is_attached(client, process)) continue;
    client->leaving = 1;
    client->blocked = 0;
    client_flush(client);
  }
}
