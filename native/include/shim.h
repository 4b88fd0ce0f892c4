/*
 * shim.h: what the shim and the agent say to each other, and what the shim leaves behind.
 * docs/shim-protocol.md explains it; native/src/frames.ts mirrors it, and a test compares the two.
 */
#ifndef TESSERA_SHIM_H
#define TESSERA_SHIM_H

#include <stdint.h>

/* ---- frames: u32 size of payload, u16 type, u16 id of the request (0 for events), payload; little endian */
#define FRAME_HEADER 8u
#define FRAME_PAYLOAD_MAX 4096u
#define SHIM_PROTOCOL 3u /* 1: without ATTACH to EXEC, GO and SIGNAL for the container alone; 2: without LEND */

/* X(name, type): below 64 from the agent, from 64 on from the shim. */
#define SHIM_FRAMES(X)                                                                       \
  X(STATUS, 1)        /* - : answered by STATE */                                            \
  X(GO, 2)            /* [u32 process]: run its command; answered by OK */                   \
  X(SIGNAL, 3)        /* u32 signal [, u32 process]: answered by OK or ERROR */              \
  X(SUBSCRIBE, 4)     /* - : events from now on; answered by STATE */                        \
  X(LOG_POSITION, 5)  /* - : answered by POSITION */                                         \
  X(ATTACH, 6)        /* u32 process, u32 ATTACH_*: answered by POSITION, then OUTPUT */     \
  X(STDIN, 7)         /* bytes, for what is attached to: answered by OK once taken */        \
  X(STDIN_CLOSE, 8)   /* - : answered by OK */                                               \
  X(RESIZE, 9)        /* u32 process, u16 rows, u16 columns: answered by OK */               \
  X(EXEC, 10)         /* u32 offset, u32 whole size, bytes: OK; at the end with u32 process */ \
  X(LEND, 11)         /* - : from another shim; answered by LENT, with descriptors */        \
  X(OK, 64)           /* - */                                                                \
  X(ERROR, 65)        /* i32 errno, text */                                                  \
  X(CREATED, 66)      /* u32 pid of the waiting process */                                   \
  X(STARTED, 67)      /* i64 seconds, u32 nanoseconds, u32 pid: the command has been executed */ \
  X(FAILED, 68)       /* u32 stage, i32 errno, path or detail */                             \
  X(EXITED, 69)       /* u32 exit code, u32 OOM killed, i64 seconds, u32 nanoseconds */      \
  X(STATE, 70)        /* u32 shim_state, u32 pid, u64 start time of the shim (ticks), u32 protocol */ \
  X(POSITION, 71)     /* u64 segment's first record, u64 offset, u64 next record */          \
  X(OUTPUT, 72)       /* u8 stream, bytes */                                                 \
  X(EXEC_STARTED, 73) /* u32 process, u32 pid, i64 seconds, u32 nanoseconds */               \
  X(EXEC_FAILED, 74)  /* u32 process, u32 stage, i32 errno, path or detail */                \
  X(EXEC_EXITED, 75)  /* u32 process, u32 exit code, i64 seconds, u32 nanoseconds */         \
  X(DETACHED, 76)     /* i32 errno, text: the last frame of an attached connection */        \
  X(RESUME, 77)       /* u64 record, u32 bytes of stdout, u32 of stderr: before DETACHED, where the log has the rest */ \
  X(LENT, 78)         /* u32 whether there is a third one; descriptors: first process, proc, /dev/shm */

enum shim_frame {
#define X(name, type) FRAME_##name = type,
  SHIM_FRAMES(X)
#undef X
};

/* ---- processes: 0 is the container's command, an exec's number is given by the answer to EXEC */
#define ATTACH_STDOUT 1u
#define ATTACH_STDERR 2u
#define ATTACH_WAIT 4u   /* the process waits while this connection is full, as it would for a pipe's reader */
#define ATTACH_LINE 8u   /* begin with what the log does not have yet of an unfinished line */
/* With ATTACH_WAIT, in the upper bits: for how long it may take nothing while the process waits; 0: no bound */
#define ATTACH_PATIENCE_SHIFT 16u
#define ATTACH_PATIENCE_UNIT_MS 100u
#define EXEC_OWN 0xffffffffu /* in place of a number: the exec that this connection has brought */
#define STDIN_WINDOW 16u /* STDIN frames that may be on their way to the shim, unanswered */
#define EXECS_MAX 64u    /* at once, in one container */
#define CLIENTS_MAX 96u  /* connections to one shim */

enum shim_state { SHIM_CREATED = 1, SHIM_RUNNING = 2, SHIM_EXITED = 3 };

/* ---- where a start failed. X(name, number) */
#define SHIM_STAGES(X)                                                                    \
  X(SPEC, 1)          /* reading the spec */                                              \
  X(SHIM, 2)          /* pipes, socket, directories */                                    \
  X(GROUP, 3)         /* cgroups */                                                       \
  X(CLONE, 4)                                                                             \
  X(DIED, 5)          /* the process ended before it could run the command */             \
  X(ROOT, 6)          /* overlay */                                                       \
  X(MOUNT, 7)                                                                             \
  X(MASK, 8)                                                                              \
  X(PIVOT, 9)                                                                             \
  X(HOSTNAME, 10)                                                                         \
  X(SYSCTL, 11)                                                                           \
  X(LIMIT, 12)        /* rlimits, oom_score_adj */                                        \
  X(USER, 13)         /* no such user */                                                  \
  X(GROUPS, 14)       /* no such group */                                                 \
  X(CREDENTIALS, 15)  /* groups, ids, capabilities */                                     \
  X(SECCOMP, 16)                                                                          \
  X(CWD, 17)                                                                              \
  X(NOT_FOUND, 18)    /* the command: not found in PATH */                                \
  X(STAT, 19)         /* the command: its path does not lead to a file */                 \
  X(EXEC, 20)         /* the command: execve */                                           \
  X(CANCELLED, 21)    /* the agent went away before it said go */                         \
  X(JOIN, 22)         /* entering namespaces: an exec its container's, a container another's */ \
  X(TERMINAL, 23)     /* making or taking the terminal */                                 \
  X(APPARMOR, 24)     /* naming the profile for the command */                            \
  X(LOAN, 25)         /* the container whose namespaces are to be joined: it does not run */ \
  X(SHARED, 26)       /* a mount's place is on a shared mount */                          \
  X(LABEL, 27)        /* naming the SELinux label for the command */                      \
  X(RELABEL, 28)      /* labelling what is bound; ENOTSUP: it is the host's own */

enum shim_stage {
#define X(name, number) STAGE_##name = number,
  SHIM_STAGES(X)
#undef X
};

/* ---- log segments: <container>/log/<first record, 16 hexadecimal digits>, records one after the other */
#define LOG_MAGIC 0x4754u /* "TG" */
#define LOG_PIECE 16384u  /* a longer line is cut into pieces, as Docker does */
#define LOG_STDOUT 1u
#define LOG_STDERR 2u
#define LOG_PARTIAL 1u    /* the line goes on in the next record of the stream */
#define LOG_GAP 2u        /* payload: u64 count of records lost here (disk full) */
#define LOG_OPEN 4u       /* the stream ended here, without a newline */

struct log_record {
  uint16_t magic;
  uint8_t stream;
  uint8_t flags;
  uint32_t length;     /* of the payload; the newline is not part of it */
  uint64_t time_ns;    /* Unix time */
};

#endif
