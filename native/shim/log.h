/* A container's log: what it writes, cut into lines, in append-only segments (include/shim.h has the format). */
#ifndef TESSERA_SHIM_LOG_H
#define TESSERA_SHIM_LOG_H

#include <stdint.h>

#include "../include/shim.h"

#define LOG_SEGMENTS_MAX 64u
#define LOG_STAGE (64u << 10)

/* One stream's unfinished line. The bytes lie apart, so that only a container that writes takes memory for them. */
struct log_stream {
  uint8_t stream;      /* LOG_STDOUT or LOG_STDERR */
  uint32_t used;
  uint8_t *line;       /* LOG_PIECE bytes */
};

struct log {
  int container_dir, dir, fd;
  uint64_t segment_size, segment_count; /* bounds */
  uint64_t first[LOG_SEGMENTS_MAX];     /* first records of the segments there are, oldest first */
  uint32_t segments;
  uint64_t size;                        /* of the segment being written */
  uint64_t next;                        /* number of the next record */
  uint64_t lost;                        /* records dropped since the disk was full */
  uint32_t staged;
  uint64_t staged_records;
  uint8_t *stage;                       /* LOG_STAGE bytes */
};

/* Goes on behind the segments that an earlier run of the container has left. With a count of 0 nothing is kept. */
void log_init(struct log *log, int container_dir, uint64_t segment_size, uint64_t segment_count);
/* First record of the segment being written, offset in it, number of the next record. */
void log_position(const struct log *log, uint64_t position[3]);
/* Takes bytes as they came from a stream at `time_ns`. */
void log_bytes(struct log *log, struct log_stream *stream, const uint8_t *bytes, uint32_t count, uint64_t time_ns);
/* The stream has ended: its last line may lack a newline. */
void log_end(struct log *log, struct log_stream *stream, uint64_t time_ns);
/* Writes what is staged. Called after each batch, so that a reader never waits for the next one. */
void log_flush(struct log *log);

#endif
