/* The shim's side of a process's stdin, stdout and stderr: pipes, or the master of a terminal. */
#ifndef TESSERA_SHIM_STREAMS_H
#define TESSERA_SHIM_STREAMS_H

#include <stdint.h>
#include <sys/types.h>

struct streams {
  int input;                /* write end of stdin, or the master; -1: the null device, or closed */
  int output, error_output; /* read ends, -1 once they have ended; of a terminal only the first */
  int master;               /* -1: pipes */
  int slave;                /* held, so that the master does not hang up while nobody has the terminal open */
  uint16_t rows, columns;   /* the last size asked for; 0: none */
};

void streams_init(struct streams *streams);
/* Makes pipes; the process's ends in `ends`, -1 for a stdin that is not wanted. 0, or -1 with errno set. */
int streams_make_pipes(struct streams *streams, int with_input, int ends[3]);
/* Makes a terminal in the file system of `devpts`; the process's three ends are copies of its slave. */
int streams_make_terminal(struct streams *streams, int devpts, int with_input, int ends[3]);
/* Takes over a terminal that the process has made. */
void streams_take_terminal(struct streams *streams, int master, int with_input);
/* Keeps the size, and tells the terminal. 0, or -1 with errno set (ENOTTY). */
int streams_resize(struct streams *streams, int is_terminal, uint16_t rows, uint16_t columns);
/* Closes stdin, where that can be done: a terminal has none of its own. */
void streams_close_input(struct streams *streams);
void streams_close(struct streams *streams);
/* The master of a new terminal. -1, errno set. */
int terminal_open(int devpts);
/* Its slave, found without any path. -1, errno set. */
int terminal_slave(int master);

#endif
