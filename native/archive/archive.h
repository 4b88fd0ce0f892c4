/*
 * ts-archive: one look into, or one change of, a container's files, and nothing else.
 *
 * What it is given (docs/runtime.md, "Files"): 0 the archive to take in; 1 where it reports; 3 what it makes, or the
 * connection that carries either;
 * 4 the container's spec; 5 a pidfd of the container's, while it runs. The monitor makes the view and goes into it; the
 * confined process finds the container's root as its own, whoever changes it meanwhile.
 */
#ifndef TESSERA_ARCHIVE_H
#define TESSERA_ARCHIVE_H

#include <sys/stat.h>

#include "../confine/confine.h"
#include "../include/spec.h"

enum { DATA = 3, SPEC = 4, PROCESS = 5 };

enum verb {
  /* What is at a path. */
  VERB_STAT,
  /* That, and an archive of it. */
  VERB_GET,
  /* Takes an archive in at a directory. */
  VERB_PUT,
  /* An archive of the whole root, without what is mounted in it. */
  VERB_EXPORT,
  /* What the container has written, as a list. */
  VERB_CHANGES,
  /* The same as a layer of an image. */
  VERB_LAYER,
};

struct options {
  enum verb verb;
  /* Absolute, without "." and ".." and slashes at its end. */
  const char *path;
  /* What it is called in the archive. */
  const char *name;
  /* The path leads through a link at its end, and must end at a directory. */
  bool follow;
  /* A directory is not replaced by something else, nor something else by a directory. */
  bool keep_kind;
  /* Whom all that is taken in belongs to, "user[:group]"; NULL: whom the archive says. */
  const char *user;
  bool running;
  struct input_bounds input;
  uint64_t entries_max, memory_max;
  int parent;
};

/* ---- view.c: the file tree that is worked on; in the monitor */

/* Makes it, and makes it the root. `image` gets a descriptor of what lies under the container's own layer, or -1. */
int view_enter(const struct spec *spec, const struct options *options, int *image);

/* ---- find.c: paths in the view */

/* Once, in the confined process, before anything is found. */
int find_begin(void);
/* A descriptor (O_PATH); with `follow`, also through a link at the end. -1 with errno set. */
int find_open(const char *path, bool follow);
/* Where the link at `path` leads in the end, as far as that exists. */
int find_target(const char *path, char target[PATH_MAX]);
/* Opens what lies in a directory for reading, if it is of the kind `type` (S_IF*); -1 with errno set otherwise. */
int find_content(int directory, const char *name, mode_t type, struct stat *st);

/* ---- walk.c: directories, in the order of their names */

/* What to do with `name` in `directory`; `path` is what it is called in all. Less than 0: fail() has been called. */
typedef int walk_visit(int directory, const char *name, const char *path);
/* All of a directory's own entries. Closes `directory`. */
int walk(int directory, const char *path, walk_visit *visit);

/* ---- output.c: the archive that is made */

/* `layer`: compressed and hashed. */
int output_begin(bool layer);
/*
 * Adds what is at `name`, under `path`. A directory is opened for the one who wants to go on in it: `*below` is then
 * its descriptor, else -1. What has gone meanwhile, and sockets, are left out.
 */
int output_add(int directory, const char *name, const char *path, int *below);
/* An empty file of this name, as layers have them; `like` gives owner and time. */
int output_add_mark(const char *path, const struct stat *like);
int output_end(void);
uint64_t output_bytes(void);
uint64_t output_entries(void);
uint64_t output_tar_bytes(void);
void output_digest(char digest[72]);

/* ---- the verbs; in the confined process */

int stat_path(const struct options *options);
int get_path(const struct options *options);
int put_archive(const struct options *options);
int export_root(void);
int list_changes(const struct spec *spec, int image, int monitor);
int make_layer(const struct spec *spec, int image, int monitor);

#endif
