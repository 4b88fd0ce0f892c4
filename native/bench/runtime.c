/*
 * runtime LOWER DIR COUNT BRIDGE NAME COMMAND…: a container by another runtime, as its users run it. Each round mounts
 * the overlay root at DIR/NAME/rootfs, makes a network namespace with a veth on BRIDGE, address and route, bound to
 * DIR/NAME/netns where the bundle's configuration names it, runs COMMAND (which creates, starts, waits and deletes) with an id
 * of the round appended, and takes all of that away. Prints the milliseconds of each round.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"

enum { WARM_UP = 5 };

/* A process of its own makes the namespace and sets it up from inside, so that ours is never left. */
static void make_namespace(const char *at, const char *link, int route, int bridge, unsigned number) {
  int ready[2], go[2], status;
  char byte;
  if (pipe2(ready, O_CLOEXEC) || pipe2(go, O_CLOEXEC)) die("pipe");
  pid_t pid = fork();
  if (pid == 0) {
    close(go[1]); /* so that the end of either one ends the other's waiting */
    if (unshare(CLONE_NEWNET) || mount("/proc/self/ns/net", at, 0, MS_BIND, 0)) die("network namespace");
    if (write(ready[1], "r", 1) != 1 || read(go[0], &byte, 1) != 1) die("pipe");
    set_address(route_socket(), number);
    _exit(0);
  }
  close(ready[1]);
  close(go[0]);
  if (read(ready[0], &byte, 1) != 1) die("network namespace");
  make_veth(route, link, bridge, pid);
  if (write(go[1], "g", 1) != 1 || waitpid(pid, &status, 0) != pid || status) die("network");
  close(ready[0]), close(go[1]);
}

int main(int argc, char **argv) {
  if (argc < 7) return fprintf(stderr, "usage: runtime LOWER DIR COUNT BRIDGE NAME COMMAND...\n"), 2;
  int route = route_socket(), bridge = (int)if_nametoindex(argv[4]);
  char at[512], netns[512], dir[600], link[32], id[64], *command[32];
  snprintf(at, sizeof at, "%s/%s/rootfs", argv[2], argv[5]);
  snprintf(netns, sizeof netns, "%s/%s/netns", argv[2], argv[5]);
  int words = argc - 6;
  if (words > 30) return 2;
  memcpy(command, argv + 6, (size_t)words * sizeof *command);
  command[words] = id;
  command[words + 1] = 0;
  for (int i = -WARM_UP; i < atoi(argv[3]); i++) {
    unsigned number = (unsigned)(i + WARM_UP);
    snprintf(id, sizeof id, "%s-%u", argv[5], number);
    snprintf(dir, sizeof dir, "%s/%s-state", argv[2], id);
    link_name(link, argv[5], number);
    double began = now_ms();
    mount_overlay(argv[1], dir, at);
    make_namespace(netns, link, route, bridge, number);
    run_command(command);
    if (umount2(netns, MNT_DETACH) || umount2(at, MNT_DETACH)) die("umount");
    remove_overlay(dir);
    double took = now_ms() - began;
    if (i >= 0) printf("%.3f\n", took);
  }
  return 0;
}
