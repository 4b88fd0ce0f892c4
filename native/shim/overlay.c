/* The container's root: what its image has, under what it writes itself. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container.h"
#include "labels.h"
#include "sys.h"
#include "text.h"

#define PAGE 4096u

/* Where overlayfs writes, and what SELinux says of all files; null pointers: nowhere, nothing. */
struct writable {
  const char *upper, *work, *context;
};

/* By the new mount API: layers one by one, so their number and length do not matter. -1, errno set. */
static int overlay_by_parts(const struct spec_record *root, struct writable writable) {
  int fs = sys_fsopen("overlay");
  if (fs < 0) return -1;
  const char *layer = spec_string_after(root->string);
  int result = 0;
  for (uint32_t i = 1; result == 0 && i < root->string_count; i++, layer = spec_string_after(layer))
    result = sys_fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir+", layer, 0);
  if (result == 0 && writable.upper) {
    result = sys_fsconfig(fs, FSCONFIG_SET_STRING, "upperdir", writable.upper, 0);
    if (result == 0) result = sys_fsconfig(fs, FSCONFIG_SET_STRING, "workdir", writable.work, 0);
  }
  if (result == 0 && writable.context)
    result = sys_fsconfig(fs, FSCONFIG_SET_STRING, "context", writable.context, 0);
  if (result == 0) result = sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", "overlay", 0);
  if (result == 0) result = sys_fsconfig(fs, FSCONFIG_CMD_CREATE, 0, 0, 0);
  int mount = result == 0 ? sys_fsmount(fs, 0) : -1;
  int error = errno;
  close(fs);
  errno = error;
  return mount;
}

/* By mount(2), for kernels before 6.5: everything in one page, so the layers' names are short. */
static int overlay_by_options(const struct spec_record *root, struct writable writable, const char *over) {
  char buffer[PAGE];
  struct text options;
  text_init(&options, buffer, sizeof buffer);
  text_add(&options, "lowerdir=");
  const char *layer = spec_string_after(root->string);
  for (uint32_t i = 1; i < root->string_count; i++, layer = spec_string_after(layer)) {
    if (i > 1) text_add(&options, ":");
    text_add(&options, layer);
  }
  if (writable.upper) {
    text_add(&options, ",upperdir=");
    text_add(&options, writable.upper);
    text_add(&options, ",workdir=");
    text_add(&options, writable.work);
  }
  if (writable.context) { /* in quotes: it has commas */
    text_add(&options, ",context=\"");
    text_add(&options, writable.context);
    text_add(&options, "\"");
  }
  if (options.cut) {
    errno = E2BIG;
    return -1;
  }
  if (sys_mount("overlay", over, "overlay", 0, buffer)) return -1;
  return open(over, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static void label_layer(const struct child *child, int at, const char *name, const char *label) {
  int layer = openat(at, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (layer < 0 || label_tree(layer, label)) child_fail(child, STAGE_RELABEL, name);
  close(layer);
}

/*
 * Of a file that is mapped, kernels ask for the label that it has in its layer, where its protection changes: without
 * this no dynamic program of an image could seal its relocations.
 */
static void label_layers(const struct child *child, const struct spec_record *root) {
  const char *image = label_of(child->spec, LABEL_IMAGE), *own = label_of(child->spec, LABEL_MOUNT);
  if (!child->labels_files || !image || !own) return;
  const char *layer = spec_string_after(root->string);
  for (uint32_t i = 1; i < root->string_count; i++, layer = spec_string_after(layer))
    label_layer(child, AT_FDCWD, layer, image);
  label_layer(child, child->data_dir, "upper", own);
}

void child_mount_root(struct child *child) {
  struct spec_record root, dirs;
  char upper[PAGE], work[PAGE];
  struct text text;
  spec_find(child->spec, SPEC_ROOT, &root);
  spec_find(child->spec, SPEC_DIRS, &dirs);
  child_open_shared(child);
  /* Mounts of the host still come in, ours never go out. */
  if (sys_mount(0, "/", 0, MS_REC | MS_SLAVE, 0)) child_fail(child, STAGE_ROOT, "/");
  /* Again, for these descriptors are to belong to this namespace's mounts. */
  child->data_dir = open(dirs.string, O_PATH | O_DIRECTORY | O_CLOEXEC);
  child->run_dir = open(spec_string(&dirs, 1), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (child->data_dir < 0 || child->run_dir < 0) child_fail(child, STAGE_ROOT, dirs.string);
  if ((mkdirat(child->data_dir, "upper", 0755) && errno != EEXIST) ||
      (mkdirat(child->data_dir, "work", 0700) && errno != EEXIST))
    child_fail(child, STAGE_ROOT, dirs.string);
  text_init(&text, upper, sizeof upper);
  text_add(&text, dirs.string);
  text_add(&text, "/upper");
  text_init(&text, work, sizeof work);
  text_add(&text, dirs.string);
  text_add(&text, "/work");
  if (text.cut || root.string_count < 2) child_fail(child, STAGE_ROOT, dirs.string);
  if (chdir(root.string)) child_fail(child, STAGE_ROOT, root.string);
  label_layers(child, &root);

  /* It covers the container's own directory, in this namespace alone: one more directory is not needed. */
  struct writable writable = {upper, work, label_context(child->spec, "overlay")};
  int mount = -1;
  if (spec_number(&root, 0) & SPEC_ROOT_PARTS) {
    mount = overlay_by_parts(&root, writable);
    if (mount >= 0 && sys_move_mount(mount, child->data_dir)) child_fail(child, STAGE_ROOT, dirs.string);
  } else {
    mount = overlay_by_options(&root, writable, dirs.string);
  }
  if (mount < 0) child_fail(child, STAGE_ROOT, dirs.string);
  child->root = mount;
}

void child_seal_root(const struct child *child) {
  struct spec_record root;
  spec_find(child->spec, SPEC_ROOT, &root);
  struct mount_attr readonly = {.attr_set = MOUNT_ATTR_RDONLY};
  if ((spec_number(&root, 0) & SPEC_ROOT_READONLY) && sys_mount_setattr(child->root, 0, &readonly))
    child_fail(child, STAGE_ROOT, "/");
}

int overlay_image(const struct spec *spec, const char *over) {
  struct spec_record root;
  struct writable nowhere = {0, 0, 0};
  spec_find(spec, SPEC_ROOT, &root);
  if (root.string_count < 2) {
    errno = EINVAL;
    return -1;
  }
  if (chdir(root.string)) return -1;
  /* A layer alone is no overlay. */
  if (root.string_count == 2) return open(spec_string_after(root.string), O_PATH | O_DIRECTORY | O_CLOEXEC);
  return spec_number(&root, 0) & SPEC_ROOT_PARTS ? overlay_by_parts(&root, nowhere)
                                                  : overlay_by_options(&root, nowhere, over);
}
