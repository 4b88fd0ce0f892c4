/* Labels of SELinux on the files of a container: the LABELS of its spec. Without them nothing here does anything. */
#ifndef TESSERA_SHIM_LABELS_H
#define TESSERA_SHIM_LABELS_H

#include "../include/spec.h"

enum label { LABEL_PROCESS, LABEL_MOUNT, LABEL_SHARED, LABEL_IMAGE };

/* Null: there is none. */
const char *label_of(const struct spec *spec, enum label which);
/* What every file of a file system has that is made with it, as an option's value; null: each file has its own. */
const char *label_context(const struct spec *spec, const char *file_system);
/* Labels the file of a descriptor, O_PATH's too. Where the file system holds none, that is fine. 0, or -1. */
int label_file(int fd, const char *label);
/*
 * Labels a tree, its top last: one whose top has the label already is done. Foreign programs may be changing it meanwhile:
 * nothing outside is touched. 0, or -1 with errno set; ENOTSUP: it is the host's own, such as /etc, and stays as it is.
 */
int label_tree(int top, const char *label);

#endif
