#include "init.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "text.h"

/* What tells of a fault of our own, and what job control sends to those in the background. */
static const int left_alone[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS, SIGTTIN, SIGTTOU};

/* By the system calls themselves: the library keeps 32 to 34 to itself, and they are to be passed on too. */
static uint64_t block(uint64_t set) {
  uint64_t before = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &set, &before, sizeof set);
  return before;
}

static int next_signal(uint64_t set) {
  long signal;
  while ((signal = syscall(SYS_rt_sigtimedwait, &set, 0, 0, sizeof set)) < 0)
    ;
  return (int)signal;
}

/* As tini says it, whom Docker's users know as docker-init. */
static int tell_failure(const char *command) {
  char line[512];
  struct text text;
  int error = errno;
  text_init(&text, line, sizeof line - 1);
  text_add(&text, "[FATAL tini (");
  text_number(&text, (uint64_t)getpid());
  text_add(&text, ")] exec ");
  text_add(&text, command);
  text_add(&text, " failed: ");
  text_add(&text, strerror(error));
  strcat(line, "\n");
  ssize_t ignored = write(2, line, strlen(line));
  (void)ignored;
  return error == ENOENT ? 127 : error == EACCES ? 126 : 1;
}

/* In a group of its own, in the foreground of the terminal if there is one, with the signals as they were. */
static void run_command(char **command, uint64_t mask) {
  if (setpgid(0, 0) == 0) tcsetpgrp(0, getpgrp());
  signal(SIGTTIN, SIG_DFL);
  signal(SIGTTOU, SIG_DFL);
  block(mask);
  execvp(command[0], command);
  _exit(tell_failure(command[0]));
}

/* Takes every zombie. 1, and the command's code, once that is among them. */
static int reap(pid_t command, int *code) {
  int status, has_ended = 0;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (pid != command) continue;
    *code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    has_ended = 1;
  }
  return has_ended;
}

int init_main(int argc, char **argv) {
  uint64_t waited_for = ~0ull;
  int code = 0;
  if (argc < 3) return 1;
  prctl(PR_SET_NAME, "docker-init");
  for (unsigned i = 0; i < sizeof left_alone / sizeof *left_alone; i++)
    waited_for &= ~(1ull << (left_alone[i] - 1));
  signal(SIGTTIN, SIG_IGN);
  signal(SIGTTOU, SIG_IGN);
  uint64_t mask = block(waited_for);
  pid_t command = fork();
  if (command < 0) return tell_failure(argv[2]);
  if (command == 0) run_command(argv + 2, mask);
  for (;;) {
    int signal = next_signal(waited_for);
    if (signal != SIGCHLD) kill(command, signal);
    else if (reap(command, &code)) return code; /* the kernel ends what is left, with the namespace */
  }
}
