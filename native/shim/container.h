/* The container's first process: made by the shim, it turns itself into the command. */
#ifndef TESSERA_SHIM_CONTAINER_H
#define TESSERA_SHIM_CONTAINER_H

#include <stdint.h>
#include <sys/types.h>

#include "../include/shim.h"
#include "../include/spec.h"
#include "loan.h"
#include "streams.h"

/* What a failing child writes to its error pipe. */
struct failure {
  uint32_t stage;
  int32_t error;
  char detail[248];
};

/* A process that the shim has made, and holds by its pidfd until it has written down its end. */
struct process {
  uint32_t number;            /* 0: the container's command; an exec's counts from 1 */
  pid_t pid;
  int pidfd;
  int helper;                 /* pidfd of the process that makes it, where it is not made at once; -1 once taken */
  int outcome;                /* how its way to the command goes; -1 once that is known */
  int announced;              /* what follows is the command itself */
  struct streams streams;
  unsigned turns;             /* of its stdout, since its stderr had one */
};

struct container {
  const struct spec *spec;
  int data_dir, run_dir;      /* directories of the spec's DIRS */
  struct process first;
  int go;                     /* where the first process waits: 'c', the groups are made; 'g', the network is */
  int devpts;                 /* root of the container's own devpts, -1 until it is there */
  int proc, shm;              /* of its proc, and of the /dev/shm that others may join; -1: not there */
  int oom;                    /* OOM_FILE, opened early, or -1 */
};

/* Makes groups and namespaces and clones. 0, or -1 with `failure` filled. The child never returns. */
int container_create(struct container *container, struct failure *failure);

/*
 * Words to the shim that come with descriptors: of its devpts and proc, of its /dev/shm and the terminal's master where
 * these are; of the process that a helper has made, behind its pid.
 */
#define CHILD_HAS_MOUNTS 'm'
#define CHILD_HAS_PROCESS 'p'
#define CHILD_FDS_MAX 4u
struct child_word {
  char word;
  uint8_t has_shm, has_terminal, unused;
  int32_t pid;
};
/* Follows the 'g' for a process with a terminal: it has its size before the command looks. */
struct terminal_size {
  uint16_t rows, columns;
};

#define SHARED_MAX 32u

/* ---- the child's side, one file per subject; each ends the process through child_fail when it cannot go on */
struct child {
  const struct spec *spec;    /* the container's */
  const struct spec *exec;    /* an exec's own; 0: the child is the container's first process */
  int data_dir, run_dir;
  int go;                     /* one byte when the groups are made, one when the network is */
  int outcome;                /* what it tells the shim: struct failure, or one byte */
  int stdio[3];
  int shared[SHARED_MAX];     /* copies of the host's mounts that stay their peers, in the order of their BINDs */
  unsigned shared_count, shared_taken;
  int root;                   /* of the container's tree, once mounted */
  int sysctl;                 /* sys of the container's own proc, once mounted */
  int devpts;                 /* its devpts, once mounted */
  int proc, shm;              /* its proc, and its /dev/shm where others may join it, once mounted */
  int init;                   /* the program that runs the command; -1: it runs itself */
  const struct loans *loans;  /* what is joined of others; 0: an exec */
  int labels_files;           /* layers and what is bound get their labels first: at a start, not for a look at the files */
  int has_network;            /* the shim has said that the network is there */
  struct terminal_size size;  /* and, where there is a terminal, its size */
};

_Noreturn void child_fail(const struct child *child, uint32_t stage, const char *detail);
/* The record of an exec's own spec, else of the container's. 1, or 0 when neither has one. */
int child_find(const struct child *child, enum spec_type type, struct spec_record *record);
uint64_t child_flags(const struct child *child);
/* What an exec goes through as the first process does: default signals, limits. */
void child_begin(const struct child *child);
/*
 * Counts when the command is executed, in this process or in the one it makes. Told through the host's own proc, while
 * nothing of a container's is in sight (CVE-2019-19921, CVE-2025-52881).
 */
void child_name_security(const struct child *child);
/* Opens the init that runs the command, where one does. */
void child_open_init(struct child *child);
/* A session of its own, whose terminal is standard input where there is one; and the end when the shim's comes. */
void child_take_session(const struct child *child);
/* Standard streams in their places, and nothing else open. */
void child_take_stdio(struct child *child);
/* Tells the shim. 0, or -1 with errno set. */
int child_tell(const struct child *child, struct child_word word, const int *fds, unsigned count);
/*
 * Of a process that has given up whatever the command must not have: makes the command's own, in the pid namespace that
 * was entered, as a child of the shim, and ends.
 */
_Noreturn void child_make_process(const struct child *child, const char *home);
void child_join_groups(const struct child *child);
/* Copies the host's mounts that are to stay peers of the container's, before its own become slaves. */
void child_open_shared(struct child *child);
/* Fails where something is to be mounted on what is shared with the host: it would show, and stay, there. */
void child_refuse_shared(const struct child *child, int target, const char *path);
void child_mount_root(struct child *child);
/* Read-only, where it is to be. */
void child_seal_root(const struct child *child);
/*
 * The root that a container is made from, without what it has written: -1 with errno set. `over` is a directory that
 * older kernels cover.
 */
int overlay_image(const struct spec *spec, const char *over);
void child_mounts(struct child *child);
/*
 * For a look at the files of a container that does not run: binds that the user asked for, and the container's own files
 * as its last run has left them.
 */
void child_visible_binds(struct child *child);
/* The terminal, its /dev/console, and the word to the shim. Returns the slave, -1 where none is wanted. */
int child_terminal(struct child *child);
void child_become_user(const struct child *child, const char **home);
_Noreturn void child_exec(const struct child *child, const char *home);

/* Two ends of a channel of messages. 0, or -1 with errno set. */
int outcome_pair(int pair[2]);
/* The v2 group that processes are cloned into; -1: there is none, they join by themselves. */
int groups_open(const struct spec *spec);

/* ---- cgroups, on either side. 0, or -1 with errno set and `*culprit` the path */
#define GROUP_PATH_MAX 1024u
/* `file` ("" for the group itself) of the group that this container has in `parent`. */
int group_path(const struct spec *spec, const char *parent, const char *file, char path[GROUP_PATH_MAX]);
/* A descriptor of OOM_FILE, or -1. */
int groups_open_oom(const struct spec *spec);
/* Makes the groups that are cloned into (v2) or joined by writing (v1). */
int groups_make(const struct spec *spec, int clone_into, const char **culprit);
void groups_remove(const struct spec *spec);
/* Limits the devices of a v2 group to the spec's rules. */
int devices_attach(const struct spec *spec, int group);

/* Writes all of `value` to a file in one call. */
int write_file(int dir, const char *path, const char *value);

#endif
