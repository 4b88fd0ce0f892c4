#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "sys.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

void streams_init(struct streams *streams) {
  *streams = (struct streams){.input = -1, .output = -1, .error_output = -1, .master = -1, .slave = -1};
}

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

int streams_make_pipes(struct streams *streams, int with_input, int ends[3]) {
  int input[2] = {-1, -1}, output[2] = {-1, -1}, errors[2] = {-1, -1};
  if ((with_input && pipe2(input, O_CLOEXEC)) || pipe2(output, O_CLOEXEC) || pipe2(errors, O_CLOEXEC)) {
    int error = errno, *all[] = {input, input + 1, output, output + 1};
    for (unsigned i = 0; i < 4; i++) close_fd(all[i]);
    errno = error;
    return -1;
  }
  streams->input = input[1];
  streams->output = output[0];
  streams->error_output = errors[0];
  /* Only our ends: programs expect reads and writes that wait. */
  if (with_input) fcntl(streams->input, F_SETFL, O_NONBLOCK);
  fcntl(streams->output, F_SETFL, O_NONBLOCK);
  fcntl(streams->error_output, F_SETFL, O_NONBLOCK);
  ends[0] = input[0];
  ends[1] = output[1];
  ends[2] = errors[1];
  return 0;
}

int terminal_open(int devpts) {
  struct stat found;
  /* The file system is the container's: whatever was put over it is not taken for it. */
  int master = sys_openat2(devpts, "ptmx", O_RDWR | O_NOCTTY, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
  if (master >= 0 && (fstat(master, &found) || !S_ISCHR(found.st_mode) || found.st_rdev != makedev(5, 2))) {
    close(master);
    errno = ENODEV;
    return -1;
  }
  int unlock = 0;
  if (master >= 0 && ioctl(master, TIOCSPTLCK, &unlock)) {
    close(master);
    return -1;
  }
  return master;
}

int terminal_slave(int master) { return ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC); }

static void apply_size(const struct streams *streams) {
  struct winsize size = {.ws_row = streams->rows, .ws_col = streams->columns};
  if (streams->master >= 0 && (size.ws_row || size.ws_col)) ioctl(streams->master, TIOCSWINSZ, &size);
}

void streams_take_terminal(struct streams *streams, int master, int with_input) {
  fcntl(master, F_SETFL, O_NONBLOCK);
  streams->master = streams->output = master;
  if (with_input) streams->input = master;
  streams->slave = terminal_slave(master);
  apply_size(streams);
}

int streams_make_terminal(struct streams *streams, int devpts, int with_input, int ends[3]) {
  int master = terminal_open(devpts);
  if (master < 0) return -1;
  streams_take_terminal(streams, master, with_input);
  for (int i = 0; i < 3; i++) ends[i] = streams->slave < 0 ? -1 : fcntl(streams->slave, F_DUPFD_CLOEXEC, 4);
  if (ends[0] >= 0 && ends[1] >= 0 && ends[2] >= 0) return 0;
  int error = errno;
  for (int i = 0; i < 3; i++) close_fd(&ends[i]);
  streams_close(streams);
  errno = error;
  return -1;
}

int streams_resize(struct streams *streams, int is_terminal, uint16_t rows, uint16_t columns) {
  if (!is_terminal) {
    errno = ENOTTY;
    return -1;
  }
  streams->rows = rows;
  streams->columns = columns;
  apply_size(streams);
  return 0;
}

void streams_close_input(struct streams *streams) {
  if (streams->input >= 0 && streams->input != streams->master) close(streams->input);
  if (streams->master < 0) streams->input = -1;
}

void streams_close(struct streams *streams) {
  if (streams->output == streams->master) streams->output = -1;
  if (streams->input == streams->master) streams->input = -1;
  close_fd(&streams->input);
  close_fd(&streams->output);
  close_fd(&streams->error_output);
  close_fd(&streams->slave);
  close_fd(&streams->master);
}
