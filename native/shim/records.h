/* What the shim writes down for whoever comes later: lines of "key value", replaced whole by rename. */
#ifndef TESSERA_SHIM_RECORDS_H
#define TESSERA_SHIM_RECORDS_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct exit_status {
  uint32_t code; /* as Docker gives it: 128 + signal */
  uint32_t oom_killed;
  struct timespec at;
};

/* `run`, in the run directory: written once the command runs. 0, or -1. */
int records_write_run(int dir, pid_t pid, const char *boot_id, const struct timespec *at);
/* `exit`, in the directory that outlives a boot: written before the process is reaped. No fsync: a power cut may cost it, a reboot does not. */
int records_write_exit(int dir, const struct exit_status *status);

/* An exec's, in the run directory: `exec-<id>`, written when its command runs and again, with `end`, when it has ended. */
struct exec_record {
  const char *id;
  uint32_t number;
  pid_t pid;
  struct timespec started;
};
int records_write_exec(int dir, const struct exec_record *exec, const struct exit_status *end);

#endif
