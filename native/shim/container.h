/* The container's first process: made by the shim, it turns itself into the command. */
#ifndef TESSERA_SHIM_CONTAINER_H
#define TESSERA_SHIM_CONTAINER_H

#include <stdint.h>
#include <sys/types.h>

#include "../include/shim.h"
#include "../include/spec.h"

/* What a failing child writes to its error pipe. */
struct failure {
  uint32_t stage;
  int32_t error;
  char detail[248];
};

/* The pipes between the two, and what the shim keeps of the child. */
struct container {
  const struct spec *spec;
  int data_dir, run_dir;      /* directories of the spec's DIRS */
  pid_t pid;
  int pidfd;
  int go;                     /* shim: write end; child: read end */
  int error;                  /* shim: read end; child: write end, CLOEXEC */
  int output, error_output;   /* shim: read ends of stdout and stderr */
  int oom;                    /* OOM_FILE, opened early, or -1 */
};

/* Makes groups and namespaces and clones. 0, or -1 with `failure` filled. The child never returns. */
int container_create(struct container *container, struct failure *failure);

/* ---- the child's side, one file per subject; each ends the process through child_fail when it cannot go on */
struct child {
  const struct spec *spec;
  int data_dir, run_dir;
  int go, error;              /* go: one byte when the groups are made, one when the network is */
  int stdio[3];
  int root;                   /* of the container's tree, once mounted */
  int sysctl;                 /* sys of the container's own proc, once mounted */
  int has_network;            /* the shim has said that the network is there */
};

_Noreturn void child_run(struct child *child);
_Noreturn void child_fail(const struct child *child, uint32_t stage, const char *detail);
void child_join_groups(const struct child *child);
void child_mount_root(struct child *child);
void child_mounts(struct child *child);
void child_become_user(const struct child *child, const char **home);
_Noreturn void child_exec(const struct child *child, const char *home);

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
