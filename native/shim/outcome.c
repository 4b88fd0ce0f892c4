#include "outcome.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "sys.h"

/* One message; `again` when it was the announcement, behind which the outcome may be already. */
static enum outcome read_message(struct process *process, struct failure *failure, struct child_word *word,
                                 int fds[CHILD_FDS_MAX], int *again) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(CHILD_FDS_MAX * sizeof(int))];
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
  if (got != (ssize_t)sizeof *word) {
    process->announced = *again = 1;
    return OUTCOME_NONE;
  }
  memcpy(word, failure, sizeof *word);
  size_t count = control.header.cmsg_type == SCM_RIGHTS ? (control.header.cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
  for (unsigned i = 0; i < CHILD_FDS_MAX; i++) fds[i] = -1;
  memcpy(fds, CMSG_DATA(&control.header), (count > CHILD_FDS_MAX ? CHILD_FDS_MAX : count) * sizeof(int));
  if (word->word == CHILD_HAS_MOUNTS) return OUTCOME_MOUNTS;
  if (process->pidfd >= 0) process->helper = process->pidfd; /* the first one's was taken for it so far */
  process->pid = word->pid;
  process->pidfd = fds[0];
  return OUTCOME_PROCESS;
}

void outcome_take_helper(struct process *process) {
  siginfo_t info;
  if (process->helper < 0) return;
  waitid(P_PIDFD, (id_t)process->helper, &info, WEXITED);
  close(process->helper);
  process->helper = -1;
}

enum outcome outcome_read(struct process *process, struct failure *failure, struct child_word *word,
                          int fds[CHILD_FDS_MAX]) {
  enum outcome outcome;
  int again;
  do {
    again = 0;
    outcome = read_message(process, failure, word, fds, &again);
  } while (again);
  return outcome;
}
