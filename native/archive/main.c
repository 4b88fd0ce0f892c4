#include "archive.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static struct {
  struct options options;
  struct spec spec;
  int image;
} own = {
    .options = {.input = {.bytes_max = 1ull << 50, .ratio_max = 200, .ratio_floor = 1ull << 30},
                .entries_max = 5000000},
    .image = -1,
};

static int verb_of(const char *word, enum verb *verb) {
  static const char *const WORDS[] = {"stat", "get", "put", "export", "changes", "layer"};
  for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++) {
    if (strcmp(word, WORDS[i]) != 0) continue;
    *verb = (enum verb)i;
    return 0;
  }
  return fail(KIND_INVALID, "usage: ts-archive [OPTIONS] stat|get|put|export|changes|layer");
}

static int parse(int argc, char **argv, struct options *options) {
  static const struct option LONG[] = {
      {"path", required_argument, NULL, 'p'},   {"name", required_argument, NULL, 'n'},
      {"follow", no_argument, NULL, 'f'},       {"keep-kind", no_argument, NULL, 'k'},
      {"user", required_argument, NULL, 'u'},   {"running", no_argument, NULL, 'r'},
      {"parent", required_argument, NULL, 'P'}, {"memory-max", required_argument, NULL, 'm'},
      {"connection", no_argument, NULL, 'c'},   {"body-bytes", required_argument, NULL, 'b'},
      {NULL, 0, NULL, 0},
  };
  int option, index;
  opterr = 0;
  options->path = options->name = "/";
  while ((option = getopt_long(argc, argv, "", LONG, &index)) != -1) {
    switch (option) {
      case 'p': options->path = optarg; break;
      case 'n': options->name = optarg; break;
      case 'f': options->follow = true; break;
      case 'k': options->keep_kind = true; break;
      case 'u': options->user = optarg; break;
      case 'r': options->running = true; break;
      case 'c': connection_begin(); break;
      case 'b': connection_body_bytes(helper_number("body-bytes", optarg)); break;
      case 'P': options->parent = (int)helper_number("parent", optarg); break;
      case 'm': options->memory_max = helper_number("memory-max", optarg); break;
      default: return fail(KIND_INVALID, "ts-archive: unknown option");
    }
  }
  if (options->path[0] != '/') return fail(KIND_INVALID, "--path is absolute");
  if (verb_of(optind < argc ? argv[optind] : "", &options->verb) < 0) return -1;
  return failed() ? -1 : 0;
}

/* Sealed by the agent, and mapped as long as we live. */
static int open_spec(struct spec *spec) {
  struct stat st;
  const char *reason = "";
  if (fstat(SPEC, &st) < 0) return fail_errno("the container's spec");
  void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, SPEC, 0);
  if (data == MAP_FAILED) return fail_errno("the container's spec");
  if (spec_open(spec, data, (size_t)st.st_size, &reason)) return fail(KIND_INTERNAL, "the container's spec: %s", reason);
  return 0;
}

static int work(void *context, int monitor) {
  const struct options *options = context;
  if (find_begin() < 0) return -1;
  switch (options->verb) {
    case VERB_STAT: return stat_path(options);
    case VERB_GET: return get_path(options);
    case VERB_PUT: return put_archive(options);
    case VERB_EXPORT: return export_root();
    case VERB_CHANGES: return list_changes(&own.spec, own.image, monitor);
    case VERB_LAYER: return make_layer(&own.spec, own.image, monitor);
  }
  return fail(KIND_INTERNAL, "no such verb");
}

int main(int argc, char **argv) {
  struct options *options = &own.options;
  if (helper_settle(PROCESS + 1) < 0 || parse(argc, argv, options) < 0) goto refused;
  if (helper_follow(options->parent) < 0) return 1;
  if (open_spec(&own.spec) < 0 || view_enter(&own.spec, options, &own.image) < 0) goto refused;
  struct confinement confinement = {.memory_max = options->memory_max};
  return helper_run(&confinement, work, options);

refused:
  report_failure(REPORT);
  return 1;
}
