/* openat2(2), as every program here calls it. */
#ifndef TESSERA_OPEN_HOW_H
#define TESSERA_OPEN_HOW_H

#include <errno.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Whoever moves things for as long as this is not waited for: a container could do so for ever. */
#define OPEN_TRIES_MAX 4096

/*
 * A descriptor, or -1 and errno. The kernel answers EAGAIN when something, anywhere on the host, was renamed or mounted
 * while it walked through "..", since it cannot tell then whether the walk stayed inside: it is to be asked again.
 */
static inline int open_how(int directory, const char *path, struct open_how how) {
  int fd = -1;
  for (int tries = 0; tries < OPEN_TRIES_MAX; tries++) {
    fd = (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
    if (fd >= 0 || errno != EAGAIN) break;
  }
  return fd;
}

#endif
