#include "archive.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Names of one directory, one after the other with their NULs, and where each begins. */
struct names {
  char *bytes, **sorted;
  size_t used, room, count;
};

static int keep(struct names *names, const char *name) {
  size_t length = strlen(name) + 1;
  if (names->used + length > names->room) {
    size_t room = names->room ? 2 * names->room : 1024;
    char *grown = realloc(names->bytes, room);
    if (!grown) return fail(KIND_EXHAUSTED, "no memory for a directory's names");
    names->bytes = grown;
    names->room = room;
  }
  memcpy(names->bytes + names->used, name, length);
  names->used += length;
  names->count++;
  return 0;
}

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static int read_names(int directory, struct names *names) {
  int copy = fcntl(directory, F_DUPFD_CLOEXEC, 0);
  DIR *stream = copy < 0 ? NULL : fdopendir(copy);
  if (!stream) {
    if (copy >= 0) close(copy);
    return fail_errno("reading a directory");
  }
  int result = 0;
  for (struct dirent *entry; result == 0 && (entry = readdir(stream));)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) result = keep(names, entry->d_name);
  closedir(stream);
  if (result < 0 || names->count == 0) return result;
  names->sorted = malloc(names->count * sizeof *names->sorted);
  if (!names->sorted) return fail(KIND_EXHAUSTED, "no memory for a directory's names");
  char *name = names->bytes;
  for (size_t i = 0; i < names->count; i++, name += strlen(name) + 1) names->sorted[i] = name;
  qsort(names->sorted, names->count, sizeof *names->sorted, compare);
  return 0;
}

/* As deep as there are descriptors: each level holds one. */
int walk(int directory, const char *path, walk_visit *visit) {
  struct names names = {0};
  int result = read_names(directory, &names);
  size_t length = strlen(path);
  const char *between = length == 0 || path[length - 1] == '/' ? "" : "/";
  for (size_t i = 0; result >= 0 && i < names.count; i++) {
    const char *name = names.sorted[i];
    char *whole = malloc(length + strlen(name) + 2);
    if (!whole) {
      result = fail(KIND_EXHAUSTED, "no memory for a path");
      break;
    }
    strcpy(stpcpy(stpcpy(whole, path), between), name);
    result = visit(directory, name, whole);
    free(whole);
  }
  free(names.sorted);
  free(names.bytes);
  close(directory);
  return result < 0 ? -1 : 0;
}
