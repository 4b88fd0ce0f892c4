#include "ends.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "attach.h"
#include "execs.h"
#include "outcome.h"
#include "records.h"
#include "server.h"
#include "sys.h"
#include "text.h"

static void tell_failed(struct shim *shim, const struct failure *failure) {
  uint8_t payload[8 + sizeof failure->detail];
  size_t length = strnlen(failure->detail, sizeof failure->detail);
  memcpy(payload, &failure->stage, 4);
  memcpy(payload + 4, &failure->error, 4);
  memcpy(payload + 8, failure->detail, length);
  attach_tell(shim, 0, FRAME_FAILED, payload, 8 + (uint32_t)length);
}

/* First what others wait for; then whoever is attached may read in peace. */
_Noreturn static void leave(struct shim *shim, int status) {
  if (shim->container.run_dir >= 0) unlinkat(shim->container.run_dir, "shim.sock", 0);
  if (shim->spec.data) groups_remove(&shim->spec);
  attach_end(shim, 0);
  server_linger(shim);
  _exit(status);
}

_Noreturn void fail_start(struct shim *shim, const struct failure *failure) {
  const struct process *first = &shim->container.first;
  int made[] = {first->helper, first->pidfd};
  for (unsigned i = 0; i < 2; i++) {
    siginfo_t info;
    if (first->pid <= 0 || made[i] < 0) continue;
    sys_pidfd_send_signal(made[i], SIGKILL);
    waitid(P_PIDFD, (id_t)made[i], &info, WEXITED);
  }
  tell_failed(shim, failure);
  leave(shim, 1);
}

_Noreturn void fail_here(struct shim *shim, uint32_t stage, const char *detail) {
  struct failure failure = {.stage = stage, .error = errno};
  strncpy(failure.detail, detail, sizeof failure.detail - 1);
  fail_start(shim, &failure);
}

static uint32_t oom_count(const struct shim *shim) {
  char content[1024];
  ssize_t length = shim->container.oom < 0 ? -1 : pread(shim->container.oom, content, sizeof content - 1, 0);
  if (length <= 0) return 0;
  content[length] = 0;
  return (uint32_t)text_counter(content, "oom_kill");
}

_Noreturn void finish(struct shim *shim) {
  siginfo_t info = {0};
  struct process *first = &shim->container.first;
  struct exit_status status = {.at = wall_time()};
  waitid(P_PIDFD, (id_t)first->pidfd, &info, WEXITED | WNOWAIT);
  status.code = info.si_code == CLD_EXITED ? (uint32_t)info.si_status : 128 + (uint32_t)info.si_status;
  execs_kill_all(shim);
  attach_read(shim, first, 1);
  status.oom_killed = oom_count(shim) > 0;
  shim->state = SHIM_EXITED;
  /* The record first: until the process is reaped its pid is nobody else's, and its end is not forgotten. */
  records_write_exit(shim->container.data_dir, &status);
  waitid(P_PIDFD, (id_t)first->pidfd, &info, WEXITED);
  struct {
    uint32_t code, oom_killed;
    int64_t seconds;
    uint32_t nanoseconds, unused;
  } event = {status.code, status.oom_killed, status.at.tv_sec, (uint32_t)status.at.tv_nsec, 0};
  attach_tell(shim, 0, FRAME_EXITED, &event, 20);
  leave(shim, 0);
}

static void started(struct shim *shim) {
  struct container *container = &shim->container;
  struct timespec now = wall_time();
  struct spec_record boot;
  close(container->first.outcome);
  close(container->go);
  container->first.outcome = container->go = -1;
  shim->state = SHIM_RUNNING;
  struct {
    int64_t seconds;
    uint32_t nanoseconds, pid;
  } event = {now.tv_sec, (uint32_t)now.tv_nsec, (uint32_t)container->first.pid};
  spec_find(&shim->spec, SPEC_BOOT, &boot);
  unlinkat(container->data_dir, "exit", 0); /* an earlier run's: from now on this one counts */
  records_write_run(container->run_dir, container->first.pid, boot.string, &now);
  attach_tell(shim, 0, FRAME_STARTED, &event, sizeof event);
}

static void take_mounts(struct shim *shim, const struct child_word *word, const int fds[CHILD_FDS_MAX]) {
  struct spec_record flags;
  struct container *container = &shim->container;
  unsigned next = 2;
  spec_find(&shim->spec, SPEC_FLAGS, &flags);
  container->devpts = fds[0];
  container->proc = fds[1];
  if (word->has_shm) container->shm = fds[next++];
  if (word->has_terminal)
    streams_take_terminal(&container->first.streams, fds[next], !!(spec_number(&flags, 0) & SPEC_FLAG_STDIN));
  server_feed(shim, 0);
}

void read_outcome(struct shim *shim) {
  struct process *first = &shim->container.first;
  for (;;) {
    struct failure failure = {0};
    struct child_word word;
    int fds[CHILD_FDS_MAX];
    switch (outcome_read(first, &failure, &word, fds)) {
      case OUTCOME_NONE: return;
      case OUTCOME_PROCESS: outcome_take_helper(first); break;
      case OUTCOME_MOUNTS: take_mounts(shim, &word, fds); break;
      case OUTCOME_RUNS: return started(shim);
      case OUTCOME_FAILED: fail_start(shim, &failure);
      case OUTCOME_DIED: {
        siginfo_t info = {0};
        waitid(P_PIDFD, (id_t)first->pidfd, &info, WEXITED | WNOWAIT);
        errno = 0;
        fail_here(shim, STAGE_DIED, oom_count(shim) > 0 ? "out of memory" : "");
      }
    }
  }
}
