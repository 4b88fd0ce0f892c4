#include "unpack.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static int parse(int argc, char **argv, struct unpack_options *options) {
  static const struct option LONG[] = {
      {"root", required_argument, NULL, 'r'},      {"bytes-max", required_argument, NULL, 'b'},
      {"entries-max", required_argument, NULL, 'e'}, {"ratio-max", required_argument, NULL, 'x'},
      {"ratio-floor", required_argument, NULL, 'f'}, {"memory-max", required_argument, NULL, 'm'},
      {"parent", required_argument, NULL, 'p'},    {"connection", no_argument, NULL, 'c'},
      {"body-bytes", required_argument, NULL, 'B'}, {NULL, 0, NULL, 0},
  };
  int option, index;
  opterr = 0;
  while ((option = getopt_long(argc, argv, "", LONG, &index)) != -1) {
    if (option == '?') return fail(KIND_INVALID, "ts-unpack: unknown option");
    const char *name = LONG[index].name;
    switch (option) {
      case 'r': options->root = optarg; break;
      case 'b': options->input.bytes_max = helper_number(name, optarg); break;
      case 'e': options->entries_max = helper_number(name, optarg); break;
      case 'x': options->input.ratio_max = helper_number(name, optarg); break;
      case 'f': options->input.ratio_floor = helper_number(name, optarg); break;
      case 'm': options->memory_max = helper_number(name, optarg); break;
      case 'c': connection_begin(); break;
      case 'B': connection_body_bytes(helper_number(name, optarg)); break;
      case 'p': options->parent = (int)helper_number(name, optarg); break;
    }
  }
  const char *mode = optind < argc ? argv[optind] : "";
  if (strcmp(mode, "layer") == 0) options->mode = UNPACK_LAYER;
  else if (strcmp(mode, "archive") == 0) options->mode = UNPACK_ARCHIVE;
  else return fail(KIND_INVALID, "usage: ts-unpack [--root DIR …] layer|archive");
  if (!options->root) return fail(KIND_INVALID, "ts-unpack: --root is missing");
  return failed() ? -1 : 0;
}

static int unpack(void *context, int monitor) {
  if (extract(context, monitor) < 0) return -1;
  char digest[72], line[256];
  input_digest(digest);
  int length = snprintf(line, sizeof line,
                        "{\"ok\":true,\"diffId\":\"%s\",\"bytes\":%llu,\"tarBytes\":%llu,\"entries\":%llu}\n", digest,
                        (unsigned long long)extract_bytes(), (unsigned long long)input_bytes(),
                        (unsigned long long)extract_entries());
  report_line(REPORT, line, (size_t)length);
  return 0;
}

int main(int argc, char **argv) {
  struct unpack_options options = {
      .input = {.bytes_max = 64ull << 30, .ratio_max = 200, .ratio_floor = 1ull << 30},
      .entries_max = 5000000,
  };
  bool parsed = parse(argc, argv, &options) == 0;
  if (helper_settle(connection_given() ? CONNECTION + 1 : CONNECTION) < 0 || !parsed) goto refused;
  if (helper_follow(options.parent) < 0) return 1;
  if (confine_namespaces() < 0 || confine_to_directory(options.root) < 0) goto refused;
  struct confinement confinement = {.memory_max = options.memory_max, .file_max = options.input.bytes_max};
  return helper_run(&confinement, unpack, &options);

refused:
  report_failure(REPORT);
  return 1;
}
