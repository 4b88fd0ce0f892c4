#include "records.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "text.h"

static int replace(int dir, const char *name, const char *temporary, const struct text *content) {
  int fd = openat(dir, temporary, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) return -1;
  ssize_t written = write(fd, content->at, content->used);
  close(fd);
  if (written != (ssize_t)content->used) return -1;
  return renameat(dir, temporary, dir, name);
}

static void add_time(struct text *text, const char *key, const struct timespec *at) {
  text_add(text, key);
  text_number(text, (uint64_t)at->tv_sec);
  text_add(text, ".");
  text_padded(text, (uint64_t)at->tv_nsec, 9);
  text_add(text, "\n");
}

static void add_number(struct text *text, const char *key, uint64_t number) {
  text_add(text, key);
  text_number(text, number);
  text_add(text, "\n");
}

int records_write_run(int dir, pid_t pid, const char *boot_id, const struct timespec *at) {
  char buffer[256];
  struct text text;
  text_init(&text, buffer, sizeof buffer);
  add_number(&text, "pid ", (uint64_t)pid);
  text_add(&text, "boot ");
  text_add(&text, boot_id);
  text_add(&text, "\n");
  add_time(&text, "started ", at);
  return replace(dir, "run", "run.new", &text);
}

int records_write_exit(int dir, const struct exit_status *status) {
  char buffer[256];
  struct text text;
  text_init(&text, buffer, sizeof buffer);
  add_number(&text, "code ", status->code);
  add_number(&text, "oom ", status->oom_killed);
  add_time(&text, "finished ", &status->at);
  return replace(dir, "exit", "exit.new", &text);
}

int records_write_exec(int dir, const struct exec_record *exec, const struct exit_status *end) {
  char buffer[256], name[128];
  struct text text;
  text_init(&text, name, sizeof name);
  text_add(&text, "exec-");
  text_add(&text, exec->id);
  if (text.cut) return -1;
  text_init(&text, buffer, sizeof buffer);
  add_number(&text, "process ", exec->number);
  add_number(&text, "pid ", (uint64_t)exec->pid);
  add_time(&text, "started ", &exec->started);
  if (end) {
    add_number(&text, "code ", end->code);
    add_time(&text, "finished ", &end->at);
  }
  return replace(dir, name, "exec.new", &text);
}
