/* What the security modules are told of a command before it is executed: AppArmor its profile, SELinux its label. */
#include <errno.h>
#include <linux/keyctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "container.h"
#include "labels.h"
#include "sys.h"
#include "text.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010u
#endif
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static void name_profile(const struct child *child) {
  struct spec_record record;
  char buffer[512];
  struct text text;
  if (!child_find(child, SPEC_APPARMOR, &record)) return;
  text_init(&text, buffer, sizeof buffer);
  text_add(&text, "exec ");
  text_add(&text, record.string);
  if (text.cut) errno = ENAMETOOLONG;
  /* Kernels before 5.8 have it in the place that the security modules share. */
  if (text.cut || (write_file(AT_FDCWD, "/proc/thread-self/attr/apparmor/exec", buffer) &&
                   (errno != ENOENT || write_file(AT_FDCWD, "/proc/thread-self/attr/exec", buffer))))
    child_fail(child, STAGE_APPARMOR, record.string);
}

/* An exec has its container's, whatever its rights: as Docker. */
static void name_label(const struct child *child) {
  const char *label = label_of(child->spec, LABEL_PROCESS);
  if (!label) return;
  if (write_file(AT_FDCWD, "/proc/thread-self/attr/exec", label) ||
      write_file(AT_FDCWD, "/proc/thread-self/attr/keycreate", label))
    child_fail(child, STAGE_LABEL, label);
}

void child_name_security(const struct child *child) {
  name_profile(child);
  name_label(child);
  /* Not the agent's; with the command's label, or it could not use its own. Kernels without keys are fine. */
  syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0);
}

static int copy_program(int from, int to) {
  struct stat found;
  if (fstat(from, &found)) return -1;
  for (off_t left = found.st_size; left > 0;) {
    ssize_t sent = sendfile(to, from, 0, (size_t)left);
    if (sent <= 0) return -1;
    left -= sent;
  }
  return fcntl(to, F_ADD_SEALS, SEALS);
}

/* A label may be entered by files of the container's alone, so the program becomes one. */
static int labelled_program(const char *label) {
  int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  int to = memfd_create("docker-init", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
  if (to < 0 && errno == EINVAL) to = memfd_create("docker-init", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (from < 0 || to < 0 || copy_program(from, to) || label_file(to, label)) return -1;
  close(from);
  return to;
}

/* The shim's own sealed program, under another name: nothing of the image's is run in its place. */
void child_open_init(struct child *child) {
  if (!(child_flags(child) & SPEC_FLAG_INIT)) return;
  const char *label = label_of(child->spec, LABEL_PROCESS) ? label_of(child->spec, LABEL_MOUNT) : 0;
  child->init = label ? labelled_program(label) : open("/proc/self/exe", O_PATH | O_CLOEXEC);
  if (child->init < 0) child_fail(child, STAGE_SHIM, "init");
}
