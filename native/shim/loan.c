#include "loan.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "container.h"
#include "frames.h"
#include "state.h"
#include "sys.h"
#include "text.h"

/* A shim that has more to do than to answer within this is taken for one that never will. */
#define ANSWER_SECONDS 20
#define DESCRIPTORS 3u

/* ---- the one who lends */

/*
 * The pidfd has been held since the process was made, and the process is not reaped before the state changes: whatever
 * becomes of its number, this is the one.
 */
void loan_give(struct shim *shim, struct client *client, uint16_t id) {
  const struct container *container = &shim->container;
  if (shim->state != SHIM_RUNNING) return client_error(client, id, ESRCH, "the container is not running");
  int fds[DESCRIPTORS] = {container->first.pidfd, container->proc, container->shm};
  uint32_t has_shm = container->shm >= 0;
  size_t size = (2 + has_shm) * sizeof(int);
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
  } control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(size)}};
  memcpy(CMSG_DATA(&control.header), fds, size);
  uint8_t frame[FRAME_HEADER + sizeof has_shm];
  frame_header(frame, FRAME_LENT, id, sizeof has_shm);
  memcpy(frame + FRAME_HEADER, &has_shm, sizeof has_shm);
  struct iovec part = {frame, sizeof frame};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(size)};
  /* Whoever asks has a connection of its own and nothing else on it: this fits, or the other end is not a shim. */
  if (queue_used(&client->queue) ||
      sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sizeof frame)
    client_drop(client);
}

/* ---- the one who borrows */

static int connect_to(const char *run_dir) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  struct text path;
  int dir = open(run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return -1;
  text_init(&path, address.sun_path, sizeof address.sun_path);
  text_add(&path, "/proc/self/fd/");
  text_number(&path, (uint64_t)dir);
  text_add(&path, "/shim.sock");
  struct timeval patience = {.tv_sec = ANSWER_SECONDS};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int result = fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) ||
               setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) ||
               connect(fd, (struct sockaddr *)&address, sizeof address);
  struct ucred peer = {.uid = 1};
  socklen_t size = sizeof peer;
  if (!result && (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) || peer.uid != 0)) {
    errno = EPERM;
    result = 1;
  }
  int error = errno;
  close(dir);
  if (result && fd >= 0) close(fd);
  errno = error;
  return result ? -1 : fd;
}

/* One question, one answer. 0 with the descriptors (-1 for what there is none of), or -1 with errno set. */
static int ask(int socket, int fds[DESCRIPTORS]) {
  uint8_t bytes[FRAME_HEADER + 260];
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
  } control = {0};
  struct frame frame;
  frame_header(bytes, FRAME_LEND, 1, 0);
  if (send(socket, bytes, FRAME_HEADER, MSG_NOSIGNAL) != (ssize_t)FRAME_HEADER) return -1;
  struct iovec into = {bytes, sizeof bytes};
  struct msghdr message = {.msg_iov = &into, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  if (got < 0) return -1;
  size_t count = control.header.cmsg_type == SCM_RIGHTS && control.header.cmsg_len >= CMSG_LEN(0)
                     ? (control.header.cmsg_len - CMSG_LEN(0)) / sizeof(int)
                     : 0;
  if (count > DESCRIPTORS) count = DESCRIPTORS;
  memcpy(fds, CMSG_DATA(&control.header), count * sizeof(int));
  int is_whole = frame_read(bytes, (uint32_t)got, &frame) > 0;
  if (is_whole && frame.type == FRAME_LENT && count >= 2) return 0;
  int32_t error = EPROTO;
  if (is_whole && frame.type == FRAME_ERROR && frame.size >= 4) memcpy(&error, frame.payload, 4);
  errno = got == 0 ? ESRCH : error;
  return -1;
}

/*
 * Copies of mounts can be made only where these are mounted: the shim goes there and back. Nothing is looked up on the
 * way, and no process of the container can see it: it stays in the host's pid namespace.
 */
static int copy_mounts(struct loan *loan, int proc, int shm) {
  int own = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC), root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  int result = own < 0 || root < 0 || setns(loan->process, CLONE_NEWNS) ? -1 : 0, error = errno;
  if (result == 0) {
    const unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
    if (loan->namespaces & CLONE_NEWPID) result |= (loan->proc = sys_open_tree(proc, "", flags)) < 0;
    if (loan->namespaces & CLONE_NEWIPC) result |= (loan->shm = sys_open_tree(shm, "", flags)) < 0;
    error = errno;
    if (setns(own, CLONE_NEWNS) || fchdir(root) || chroot(".")) _exit(1); /* not to go on in a stranger's tree */
  }
  if (own >= 0) close(own);
  if (root >= 0) close(root);
  errno = error;
  return result ? -1 : 0;
}

static void close_all(int *fds, unsigned count) {
  for (unsigned i = 0; i < count; i++)
    if (fds[i] >= 0) close(fds[i]);
}

static int fail(struct failure *failure, uint32_t stage, const char *detail) {
  *failure = (struct failure){.stage = stage, .error = errno};
  strncpy(failure->detail, detail, sizeof failure->detail - 1);
  return -1;
}

static int take(const struct spec_record *record, struct loan *loan, struct failure *failure) {
  const char *id = record->string;
  int fds[DESCRIPTORS] = {-1, -1, -1};
  *loan = (struct loan){.namespaces = spec_number(record, 0), .process = -1, .proc = -1, .shm = -1};
  int socket = connect_to(spec_string(record, 1));
  int result = socket < 0 ? -1 : ask(socket, fds), error = errno;
  if (socket >= 0) close(socket);
  errno = error;
  loan->process = fds[0];
  if (result) fail(failure, STAGE_LOAN, id);
  if (result == 0 && (loan->namespaces & CLONE_NEWIPC) && fds[2] < 0) {
    errno = EXDEV; /* it keeps its IPC to itself */
    result = fail(failure, STAGE_LOAN, id);
  }
  if (result == 0 && (loan->namespaces & (CLONE_NEWPID | CLONE_NEWIPC)) && copy_mounts(loan, fds[1], fds[2]))
    result = fail(failure, STAGE_LOAN, id);
  close_all(fds + 1, 2);
  return result;
}

int loans_take(const struct spec *spec, struct loans *loans, struct failure *failure) {
  uint32_t offset = 0;
  struct spec_record record;
  loans->count = 0;
  while (spec_next(spec, &offset, &record)) {
    if (record.type != SPEC_JOIN) continue;
    if (loans->count == LOANS_MAX) {
      errno = E2BIG;
      return fail(failure, STAGE_JOIN, record.string);
    }
    if (take(&record, &loans->of[loans->count++], failure)) return -1;
  }
  return 0;
}

void loans_close(struct loans *loans) {
  for (unsigned i = 0; i < loans->count; i++) {
    int fds[] = {loans->of[i].process, loans->of[i].proc, loans->of[i].shm};
    close_all(fds, 3);
  }
  loans->count = 0;
}

int loans_mount(const struct loans *loans, const char *what) {
  for (unsigned i = 0; i < loans->count; i++) {
    int fd = *what == 'p' ? loans->of[i].proc : loans->of[i].shm;
    if (fd >= 0) return fd;
  }
  return -1;
}

int loans_join(const struct loans *loans, uint64_t namespaces) {
  for (unsigned i = 0; i < loans->count; i++)
    if (loans->of[i].namespaces & namespaces) return 1;
  return 0;
}
