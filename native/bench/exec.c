/*
 * exec COUNT COMMAND…: runs a command again and again, as a user of a runtime's `exec` does, and prints the milliseconds
 * each took from its start to its end.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "kernel.h"

extern char **environ;
enum { WARM_UP = 5 };

static void run_command(char **command) {
  posix_spawn_file_actions_t actions;
  pid_t pid;
  int status;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
  posix_spawn_file_actions_adddup2(&actions, 0, 1);
  if (posix_spawnp(&pid, command[0], &actions, 0, command, environ)) die(command[0]);
  if (waitpid(pid, &status, 0) != pid || status) die("the command failed");
  posix_spawn_file_actions_destroy(&actions);
}

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "usage: exec COUNT COMMAND...\n"), 2;
  for (int i = -WARM_UP; i < atoi(argv[1]); i++) {
    double began = now_ms();
    run_command(argv + 2);
    if (i >= 0) printf("%.3f\n", now_ms() - began);
  }
  return 0;
}
