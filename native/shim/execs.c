#include "execs.h"

#include <errno.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "attach.h"
#include "outcome.h"
#include "records.h"
#include "sys.h"

#define ID_LONGEST 64u

struct exec *execs_find(struct shim *shim, uint32_t number) {
  for (uint32_t i = 0; number && i < EXECS_MAX; i++)
    if (shim->execs[i].state != EXEC_FREE && shim->execs[i].process.number == number) return &shim->execs[i];
  return 0;
}

static void release(struct exec *exec) {
  struct process *process = &exec->process;
  outcome_take_helper(process);
  streams_close(&process->streams);
  if (process->outcome >= 0) close(process->outcome);
  if (process->pidfd >= 0) close(process->pidfd);
  upload_drop(&exec->bytes);
  exec->state = EXEC_FREE;
}

/* It names a file: letters and digits only. */
static int is_id(const char *id) {
  size_t length = strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz");
  return length > 0 && length <= ID_LONGEST && id[length] == 0;
}

static const char *id_of(const struct exec *exec) {
  struct spec_record id;
  spec_find(&exec->spec, SPEC_ID, &id);
  return id.string;
}

static uint64_t flags_of(const struct exec *exec) {
  struct spec_record flags;
  spec_find(&exec->spec, SPEC_FLAGS, &flags);
  return spec_number(&flags, 0);
}

/* One that waits for the word of a connection that is gone is, too. */
static int is_free(const struct shim *shim, struct exec *exec) {
  if (exec->state == EXEC_WAITING && shim->clients[exec->owner].fd < 0) release(exec);
  return exec->state == EXEC_FREE;
}

static void make(struct shim *shim, struct client *client, uint16_t id) {
  struct exec *exec = 0;
  const char *reason = "";
  client->exec = EXEC_OWN;
  for (uint32_t i = 0; i < EXECS_MAX && !exec; i++)
    if (is_free(shim, &shim->execs[i])) exec = &shim->execs[i];
  if (!exec) {
    upload_drop(&client->upload);
    return client_error(client, id, EAGAIN, "too many execs are running in this container");
  }
  *exec = (struct exec){.bytes = client->upload, .owner = (int)(client - shim->clients)};
  client->upload = (struct upload){0};
  exec->process = (struct process){.pidfd = -1, .helper = -1, .outcome = -1};
  streams_init(&exec->process.streams);
  if (spec_open_exec(&exec->spec, exec->bytes.bytes, exec->bytes.size, &reason) || !is_id(id_of(exec))) {
    release(exec);
    return client_error(client, id, EINVAL, *reason ? reason : "its id");
  }
  exec->state = EXEC_WAITING;
  client->exec = exec->process.number = ++shim->next_exec;
  client_send(client, FRAME_OK, id, &exec->process.number, 4);
}

void execs_add(struct shim *shim, struct client *client, const struct frame *frame) {
  uint32_t offset, size;
  if (frame->size < 8) return client_error(client, frame->id, EINVAL, "exec");
  memcpy(&offset, frame->payload, 4);
  memcpy(&size, frame->payload + 4, 4);
  int whole = upload_add(&client->upload, offset, size, frame->payload + 8, frame->size - 8);
  if (whole < 0) {
    int error = errno;
    upload_drop(&client->upload);
    return client_error(client, frame->id, error, "exec");
  }
  if (whole) return make(shim, client, frame->id);
  client_send(client, FRAME_OK, frame->id, 0, 0);
}

/*
 * The helper, in the host's pid namespace, where the container does not see it. It joins the container by the first
 * process's pidfd, so that no path is resolved there before it is inside, becomes what the command is to be, and makes
 * the process in the container's pid namespace: a child of the shim, as the helper is.
 */
_Noreturn static void run_helper(struct child *child, int container) {
  const char *home = 0;
  child_begin(child);
  child_join_groups(child);
  if (setns(container, CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP | CLONE_NEWPID))
    child_fail(child, STAGE_JOIN, "setns");
  umask(022);
  child_take_stdio(child); /* closes everything of the host's (CVE-2024-21626) */
  child_become_user(child, &home);
  child_make_process(child, home);
}

static int clone_child(struct shim *shim, struct exec *exec, int stdio[3], int outcome) {
  struct process *first = &shim->container.first;
  int pidfd = -1, group = groups_open(&shim->spec);
  struct clone_args args = {
      .flags = CLONE_PIDFD | (group >= 0 ? CLONE_INTO_CGROUP : 0),
      .pidfd = (uint64_t)(uintptr_t)&pidfd,
      .exit_signal = SIGCHLD,
      .cgroup = group >= 0 ? (uint64_t)group : 0,
  };
  pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) {
    struct child child = {
        .spec = &shim->spec, .exec = &exec->spec, .data_dir = -1, .run_dir = -1, .go = -1,
        .outcome = outcome, .root = -1, .sysctl = -1, .devpts = -1, .proc = -1, .shm = -1, .init = -1,
        .stdio = {stdio[0], stdio[1], stdio[2]},
    };
    run_helper(&child, first->pidfd);
  }
  int error = errno;
  if (group >= 0) close(group);
  errno = error;
  exec->process.helper = pidfd;
  return pid < 0 ? -1 : 0;
}

int execs_go(struct shim *shim, uint32_t number, const char **what) {
  struct exec *exec = execs_find(shim, number);
  int outcome[2], stdio[3] = {-1, -1, -1};
  *what = "there is no such exec";
  errno = ESRCH;
  if (!exec) return -1;
  if (exec->state != EXEC_WAITING) return 0; /* may be repeated */
  *what = "the container is not running";
  errno = ESRCH;
  if (shim->state != SHIM_RUNNING) return -1;
  struct streams *streams = &exec->process.streams;
  int with_input = !!(flags_of(exec) & SPEC_FLAG_STDIN);
  *what = "its streams";
  if (flags_of(exec) & SPEC_FLAG_TTY ? streams_make_terminal(streams, shim->container.devpts, with_input, stdio)
                                     : streams_make_pipes(streams, with_input, stdio))
    return -1;
  int result = outcome_pair(outcome);
  if (result == 0) {
    *what = "cloning its process";
    result = clone_child(shim, exec, stdio, outcome[1]);
    int error = errno;
    close(outcome[1]);
    if (result) close(outcome[0]);
    else exec->process.outcome = outcome[0];
    errno = error;
  }
  int error = errno;
  for (int i = 0; i < 3; i++)
    if (stdio[i] >= 0) close(stdio[i]);
  if (result) release(exec);
  else exec->state = EXEC_STARTING;
  errno = error;
  return result;
}

static void tell_started(struct shim *shim, struct exec *exec) {
  struct {
    uint32_t number, pid;
    int64_t seconds;
    uint32_t nanoseconds, unused;
  } event = {exec->process.number, (uint32_t)exec->process.pid, exec->started.tv_sec,
             (uint32_t)exec->started.tv_nsec, 0};
  attach_tell(shim, exec->process.number, FRAME_EXEC_STARTED, &event, 20);
}

static void write_record(struct shim *shim, const struct exec *exec, const struct exit_status *end) {
  struct exec_record record = {id_of(exec), exec->process.number, exec->process.pid, exec->started};
  records_write_exec(shim->container.run_dir, &record, end);
}

static void tell_failed(struct shim *shim, struct exec *exec, const struct failure *failure) {
  uint8_t payload[12 + sizeof failure->detail];
  size_t length = strnlen(failure->detail, sizeof failure->detail);
  memcpy(payload, &exec->process.number, 4);
  memcpy(payload + 4, &failure->stage, 4);
  memcpy(payload + 8, &failure->error, 4);
  memcpy(payload + 12, failure->detail, length);
  attach_tell(shim, exec->process.number, FRAME_EXEC_FAILED, payload, 12 + (uint32_t)length);
  attach_end(shim, exec->process.number);
}

/* The helper and the process have said all they had to. */
static void decide(struct shim *shim, struct exec *exec, int runs) {
  close(exec->process.outcome);
  exec->process.outcome = -1;
  if (runs && !exec->has_failed && exec->process.pidfd >= 0) {
    exec->started = wall_time();
    exec->state = EXEC_RUNNING;
    write_record(shim, exec, 0);
    tell_started(shim, exec);
    return;
  }
  if (!exec->has_failed) exec->failure = (struct failure){.stage = STAGE_DIED};
  exec->state = EXEC_FAILED;
  tell_failed(shim, exec, &exec->failure);
  if (exec->process.pidfd < 0) release(exec); /* there never was one */
}

void execs_read_outcome(struct shim *shim, struct exec *exec) {
  for (;;) {
    struct failure failure = {0};
    struct child_word word;
    int fds[CHILD_FDS_MAX];
    switch (outcome_read(&exec->process, &failure, &word, fds)) {
      case OUTCOME_FAILED:
        exec->failure = failure;
        exec->has_failed = 1;
        break;
      case OUTCOME_PROCESS: break;
      case OUTCOME_RUNS: return decide(shim, exec, 1);
      case OUTCOME_DIED: return decide(shim, exec, 0);
      default: return;
    }
  }
}

void execs_finish(struct shim *shim, struct exec *exec) {
  struct process *process = &exec->process;
  siginfo_t info = {0};
  waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOWAIT);
  if (exec->state == EXEC_RUNNING) {
    struct exit_status end = {.at = wall_time()};
    end.code = info.si_code == CLD_EXITED ? (uint32_t)info.si_status : 128 + (uint32_t)info.si_status;
    attach_read(shim, process, 1);
    write_record(shim, exec, &end);
    struct {
      uint32_t number, code;
      int64_t seconds;
      uint32_t nanoseconds, unused;
    } event = {process->number, end.code, end.at.tv_sec, (uint32_t)end.at.tv_nsec, 0};
    attach_tell(shim, process->number, FRAME_EXEC_EXITED, &event, 20);
    attach_end(shim, process->number);
  }
  waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED);
  release(exec);
}

void execs_forget(struct shim *shim, int owner) {
  for (uint32_t i = 0; i < EXECS_MAX; i++)
    if (shim->execs[i].state == EXEC_WAITING && shim->execs[i].owner == owner) release(&shim->execs[i]);
}

void execs_kill_all(struct shim *shim) {
  for (uint32_t i = 0; i < EXECS_MAX; i++) {
    struct exec *exec = &shim->execs[i];
    if (exec->state == EXEC_FREE || exec->state == EXEC_WAITING) continue;
    if (exec->process.pidfd < 0) continue; /* its helper finds no container to join */
    sys_pidfd_send_signal(exec->process.pidfd, SIGKILL);
    struct pollfd ended = {.fd = exec->process.pidfd, .events = POLLIN};
    poll(&ended, 1, 1000); /* a frozen one cannot die: the agent empties the group */
    if (ended.revents) execs_finish(shim, exec);
  }
}
