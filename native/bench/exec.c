/*
 * exec COUNT COMMAND…: runs a command again and again, as a user of a runtime's `exec` does, and prints the milliseconds
 * each took from its start to its end.
 */
#include <stdio.h>
#include <stdlib.h>

#include "kernel.h"

enum { WARM_UP = 5 };

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "usage: exec COUNT COMMAND...\n"), 2;
  for (int i = -WARM_UP; i < atoi(argv[1]); i++) {
    double began = now_ms();
    run_command(argv + 2);
    if (i >= 0) printf("%.3f\n", now_ms() - began);
  }
  return 0;
}
