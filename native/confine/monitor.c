#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int helper_settle(unsigned first_free) {
  int fd;
  do fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  while (fd >= 0 && fd <= 2);
  if (fd >= 0 && (unsigned)fd < first_free) return fail(KIND_INTERNAL, "a descriptor is missing: start it by the agent");
  if (close_range(first_free, ~0u, 0) < 0) return fail_errno("closing descriptors");
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
  signal(SIGPIPE, SIG_IGN);
  // A write beyond RLIMIT_FSIZE is to fail, not to kill.
  signal(SIGXFSZ, SIG_IGN);
  umask(0);
  // Names in pax headers are UTF-8; without the locale libarchive would turn other letters into '?'.
  if (!setlocale(LC_CTYPE, "C.UTF-8"))
    return fail(KIND_INTERNAL, "the locale C.UTF-8 is missing (Debian package libc-bin)");
  return 0;
}

uint64_t helper_number(const char *name, const char *text) {
  char *end;
  errno = 0;
  uint64_t value = strtoull(text, &end, 10);
  if (errno || *end || end == text || *text == '-')
    fail(KIND_INVALID, "--%s takes a number, not '%.40s'", name, text);
  return value;
}

int helper_follow(int parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  return parent && getppid() != parent ? -1 : 0;
}

static int confined(const struct confinement *confinement, int (*work)(void *, int), void *context, int monitor) {
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  struct pollfd gone = {.fd = monitor};
  // The monitor may have died before the line above.
  if (poll(&gone, 1, 0) > 0) return 1;
  if (confine_process(confinement) == 0 && work(context, monitor) == 0) return 0;
  report_failure(REPORT);
  return 1;
}

static int watch(pid_t pid, int socket) {
  // Whoever waits for the end of these waits for the confined process alone.
  for (int fd = 0; fd < socket; fd++)
    if (fd != REPORT && fd != 2) close(fd);
  opaque_serve(socket);
  int status;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return 1;
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  fail(WTERMSIG(status) == SIGKILL ? KIND_EXHAUSTED : KIND_INTERNAL, "%s was ended by signal %d (%s)", program_invocation_short_name,
       WTERMSIG(status), strsignal(WTERMSIG(status)));
  report_failure(REPORT);
  return 1;
}

int helper_run(const struct confinement *confinement, int (*work)(void *context, int monitor), void *context) {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) {
    fail_errno("socketpair");
    report_failure(REPORT);
    return 1;
  }
  pid_t pid = fork();
  if (pid < 0) {
    fail_errno("fork");
    report_failure(REPORT);
    return 1;
  }
  if (pid == 0) {
    close(sockets[0]);
    _exit(confined(confinement, work, context, sockets[1]));
  }
  close(sockets[1]);
  return watch(pid, sockets[0]);
}
