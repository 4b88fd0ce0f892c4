#include "outcome.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "sys.h"

/* One message; `again` when it was the announcement, behind which the outcome may be already. */
static enum outcome read_message(struct process *process, struct failure *failure, int fds[2], int *again) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(2 * sizeof(int))];
  } control = {0};
  struct iovec into = {failure, sizeof *failure};
  struct msghdr message = {.msg_iov = &into, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t got = recvmsg(process->outcome, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return OUTCOME_NONE;
  if (got <= 0) return process->announced ? OUTCOME_RUNS : OUTCOME_DIED;
  if (got == (ssize_t)sizeof *failure) {
    failure->detail[sizeof failure->detail - 1] = 0;
    return OUTCOME_FAILED;
  }
  struct child_word word;
  if (got != (ssize_t)sizeof word) {
    process->announced = *again = 1;
    return OUTCOME_NONE;
  }
  memcpy(&word, failure, sizeof word);
  size_t count = control.header.cmsg_type == SCM_RIGHTS ? (control.header.cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
  fds[0] = fds[1] = -1;
  memcpy(fds, CMSG_DATA(&control.header), (count > 2 ? 2 : count) * sizeof(int));
  if (word.word == CHILD_HAS_DEVPTS) return OUTCOME_DEVPTS;
  process->pid = word.pid;
  process->pidfd = fds[0];
  return OUTCOME_PROCESS;
}

enum outcome outcome_read(struct process *process, struct failure *failure, int fds[2]) {
  enum outcome outcome;
  int again;
  do {
    again = 0;
    outcome = read_message(process, failure, fds, &again);
  } while (again);
  return outcome;
}
