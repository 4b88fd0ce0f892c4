#include "unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
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

enum { REPORT = 1 };

static uint64_t number(const char *name, const char *text) {
  char *end;
  errno = 0;
  uint64_t value = strtoull(text, &end, 10);
  if (errno || *end || end == text || *text == '-')
    fail(KIND_INVALID, "unpacker: --%s takes a number, not '%.40s'", name, text);
  return value;
}

static int parse(int argc, char **argv, struct unpack_options *options) {
  static const struct option LONG[] = {
      {"root", required_argument, NULL, 'r'},      {"bytes-max", required_argument, NULL, 'b'},
      {"entries-max", required_argument, NULL, 'e'}, {"ratio-max", required_argument, NULL, 'x'},
      {"ratio-floor", required_argument, NULL, 'f'}, {"memory-max", required_argument, NULL, 'm'},
      {"parent", required_argument, NULL, 'p'},    {NULL, 0, NULL, 0},
  };
  int option, index;
  opterr = 0;
  while ((option = getopt_long(argc, argv, "", LONG, &index)) != -1) {
    if (option == '?') return fail(KIND_INVALID, "unpacker: unknown option");
    const char *name = LONG[index].name;
    switch (option) {
      case 'r': options->root = optarg; break;
      case 'b': options->bytes_max = number(name, optarg); break;
      case 'e': options->entries_max = number(name, optarg); break;
      case 'x': options->ratio_max = number(name, optarg); break;
      case 'f': options->ratio_floor = number(name, optarg); break;
      case 'm': options->memory_max = number(name, optarg); break;
      case 'p': options->parent = (int)number(name, optarg); break;
    }
  }
  const char *mode = optind < argc ? argv[optind] : "";
  if (strcmp(mode, "layer") == 0) options->mode = UNPACK_LAYER;
  else if (strcmp(mode, "archive") == 0) options->mode = UNPACK_ARCHIVE;
  else return fail(KIND_INVALID, "unpacker: usage: ts-unpack [--root DIR …] layer|archive");
  if (!options->root) return fail(KIND_INVALID, "unpacker: --root is missing");
  return failed() ? -1 : 0;
}

/* Descriptors 0 to 2 taken, none beyond them; signals as a new process expects them. */
static int settle(void) {
  int fd;
  do fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  while (fd >= 0 && fd <= 2);
  if (close_range(3, ~0u, 0) < 0) return fail_errno("unpacker: closing descriptors");
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
  signal(SIGPIPE, SIG_IGN);
  // A write beyond RLIMIT_FSIZE is to fail, not to kill.
  signal(SIGXFSZ, SIG_IGN);
  umask(0);
  return 0;
}

static int child(const struct unpack_options *options, int monitor) {
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  struct pollfd gone = {.fd = monitor};
  // The monitor may have died before the line above.
  if (poll(&gone, 1, 0) > 0) return 1;
  if (confine_process(options) < 0 || extract(options, monitor) < 0) {
    report_failure(REPORT);
    return 1;
  }
  char digest[72];
  input_digest(digest);
  report_success(REPORT, digest, extract_bytes(), input_bytes(), extract_entries());
  return 0;
}

static int watch(pid_t pid, int socket) {
  close(0);
  opaque_serve(socket);
  int status;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return 1;
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  fail(WTERMSIG(status) == SIGKILL ? KIND_EXHAUSTED : KIND_INTERNAL, "the unpacker was ended by signal %d (%s)",
       WTERMSIG(status), strsignal(WTERMSIG(status)));
  report_failure(REPORT);
  return 1;
}

int main(int argc, char **argv) {
  struct unpack_options options = {
      .bytes_max = 64ull << 30,
      .entries_max = 5000000,
      .ratio_max = 200,
      .ratio_floor = 1ull << 30,
  };
  int sockets[2];
  if (settle() < 0 || parse(argc, argv, &options) < 0) goto refused;
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (options.parent && getppid() != options.parent) return 1;
  // Names in pax headers are UTF-8; without the locale libarchive would turn other letters into '?'.
  if (!setlocale(LC_CTYPE, "C.UTF-8")) {
    fail(KIND_INTERNAL, "unpacker: the locale C.UTF-8 is missing (Debian package libc-bin)");
    goto refused;
  }
  if (confine_namespaces(options.root) < 0) goto refused;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0) {
    fail_errno("unpacker: socketpair");
    goto refused;
  }
  pid_t pid = fork();
  if (pid < 0) {
    fail_errno("unpacker: fork");
    goto refused;
  }
  if (pid == 0) {
    close(sockets[0]);
    _exit(child(&options, sockets[1]));
  }
  close(sockets[1]);
  return watch(pid, sockets[0]);

refused:
  report_failure(REPORT);
  return 1;
}
