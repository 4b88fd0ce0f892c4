/* What the benchmarks share: time, commands, rtnetlink in a few lines, an overlay mount, small files. */
#ifndef TESSERA_BENCH_KERNEL_H
#define TESSERA_BENCH_KERNEL_H

#include <sys/types.h>

double now_ms(void);
_Noreturn void die(const char *what);
/* Runs a command to its end, without input and output. */
void run_command(char **command);
void put(const char *path, const char *text);
/* An rtnetlink socket of the namespace one is in. */
int route_socket(void);
/* A veth: `name` here, up and on the bridge `master`; its peer is eth0 in the namespace of process `pid`. */
void make_veth(int route, const char *name, int master, pid_t pid);
/* A name for a link that no other lane has: the end of `name` and the number. */
void link_name(char link[32], const char *name, unsigned number);
/* In a container's namespace: lo up, eth0 with 10.99.N.M/16 and a default route. */
void set_address(int route, unsigned number);
/* Mounts an overlay of `lower` at `at`, which gets directories beside it for its upper part. */
void mount_overlay(const char *lower, const char *dir, const char *at);
/* Removes what mount_overlay and a container have left. */
void remove_overlay(const char *dir);

#endif
