/* What is at a path, and an archive of it; or of the whole root. */
#include "archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int missing(const char *path) {
  if (errno == ENOENT) return fail(KIND_NOT_FOUND, "no such file: %.200s", path);
  return fail_errno("lstat %.200s", path);
}

/* One line, before anything else. */
static int report_stat(const struct options *options, const struct stat *st) {
  char target[PATH_MAX] = "", escaped[6 * PATH_MAX], line[6 * PATH_MAX + 256];
  if (S_ISLNK(st->st_mode) && find_target(options->path, target) < 0) return -1;
  escaped[report_escape(escaped, target)] = 0;
  int length = snprintf(line, sizeof line,
                        "{\"stat\":{\"mode\":%u,\"size\":%lld,\"seconds\":%lld,\"nanos\":%ld,\"link\":\"%s\"}}\n",
                        st->st_mode, (long long)st->st_size, (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec, escaped);
  report_line(REPORT, line, (size_t)length);
  return 0;
}

static int report_end(void) {
  report_line(REPORT, "{\"ok\":true}\n", 12);
  return 0;
}

int stat_path(const struct options *options) {
  struct stat st;
  int fd = find_open(options->path, options->follow);
  if (fd < 0 || fstat(fd, &st) < 0) return missing(options->path);
  close(fd);
  return report_stat(options, &st) < 0 ? -1 : report_end();
}

static int visit(int directory, const char *name, const char *path) {
  int below;
  if (output_add(directory, name, path, &below) < 0) return -1;
  return below < 0 ? 0 : walk(below, path, visit);
}

/* The directory that `path` lies in, without following what it may be. */
static int open_parent(const char *path, const char **base) {
  char parent[PATH_MAX];
  const char *slash = strrchr(path, '/');
  size_t length = (size_t)(slash - path);
  if (length >= sizeof parent) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(parent, path, length);
  strcpy(parent + length, length ? "" : "/");
  *base = slash + 1;
  return find_open(parent, true);
}

int get_path(const struct options *options) {
  struct stat st;
  // A directory that is named as one is looked into from inside: what it is called does not matter then.
  bool inside = options->follow || strcmp(options->path, "/") == 0;
  const char *base = ".";
  int directory = inside ? find_open(options->path, true) : open_parent(options->path, &base);
  if (directory < 0 || fstatat(directory, base, &st, AT_SYMLINK_NOFOLLOW) < 0) return missing(options->path);
  if (report_stat(options, &st) < 0 || output_begin(false) < 0) return -1;
  if (visit(directory, base, options->name) < 0 || output_end() < 0) return -1;
  return report_end();
}

int export_root(void) {
  int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return fail_errno("opening the root");
  if (output_begin(false) < 0 || walk(root, "", visit) < 0 || output_end() < 0) return -1;
  return report_end();
}
