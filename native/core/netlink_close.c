/*
 * Closing netfilter sockets. The kernel lets the last close of one wait until everything that nftables removed has
 * been freed, an RCU grace period or two: 5 to 25 ms of nothing. A thread of its own does the waiting.
 */
#include <pthread.h>
#include <unistd.h>

#include "netlink.h"

enum { WAITING_MAX = 256 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static int waiting[WAITING_MAX];
static int count;
static int started;

static void *close_all(void *unused) {
  for (;;) {
    pthread_mutex_lock(&lock);
    while (count == 0) pthread_cond_wait(&wake, &lock);
    int fd = waiting[--count];
    pthread_mutex_unlock(&lock);
    close(fd);
  }
  return NULL;
}

static int start(void) {
  if (started) return 1;
  pthread_t thread;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 64 << 10);
  started = pthread_create(&thread, &attributes, close_all, NULL) == 0;
  pthread_attr_destroy(&attributes);
  return started;
}

void nl_close_later(int fd) {
  pthread_mutex_lock(&lock);
  int taken = start() && count < WAITING_MAX;
  if (taken) waiting[count++] = fd;
  pthread_cond_signal(&wake);
  pthread_mutex_unlock(&lock);
  if (!taken) close(fd);
}
