#include "confine.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

union control {
  struct cmsghdr align;
  char space[CMSG_SPACE(sizeof(int))];
};

/* What is asked of a directory. The answer: 0 or more, or a negative errno. */
enum { ASK_MARK = 'm', ASK_QUERY = 'q' };

static int ask(int socket, char what, int fd, int *answer) {
  union control control = {0};
  struct iovec iov = {&what, 1};
  struct msghdr message = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &fd, sizeof fd);

  struct iovec answer_iov = {answer, sizeof *answer};
  struct msghdr answered = {.msg_iov = &answer_iov, .msg_iovlen = 1};
  if (sendmsg(socket, &message, MSG_NOSIGNAL) != 1 || recvmsg(socket, &answered, 0) != sizeof *answer)
    return fail(KIND_INTERNAL, "the monitor is gone");
  if (*answer >= 0) return 0;
  errno = -*answer;
  return -1;
}

int opaque_request(int socket, int fd) {
  int answer;
  if (ask(socket, ASK_MARK, fd, &answer) == 0) return 0;
  return fail_errno("marking a directory opaque");
}

int opaque_query(int socket, int fd) {
  int answer;
  if (ask(socket, ASK_QUERY, fd, &answer) == 0) return answer;
  return fail_errno("asking for a directory's marks");
}

static int mark(int fd) { return fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) < 0 ? -errno : 0; }

/* A directory that has been renamed in place of being copied means another one below: we never mount so. */
static int query(int fd) {
  char value[2];
  if (fgetxattr(fd, "trusted.overlay.redirect", NULL, 0) >= 0) return -EXDEV;
  ssize_t length = fgetxattr(fd, "trusted.overlay.opaque", value, sizeof value);
  if (length < 0 && errno != ENODATA && errno != ENOTSUP && errno != ERANGE) return -errno;
  return length == 1 && value[0] == 'y';
}

static int serve(char what, int fd) {
  struct stat st;
  if (fd < 0) return -EBADF;
  if (fstat(fd, &st) < 0) return -errno;
  if (!S_ISDIR(st.st_mode)) return -ENOTDIR;
  return what == ASK_MARK ? mark(fd) : what == ASK_QUERY ? query(fd) : -EINVAL;
}

void opaque_serve(int socket) {
  for (;;) {
    union control control = {0};
    char what;
    struct iovec iov = {&what, 1};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
    ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;

    int fd = -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(int)))
      memcpy(&fd, CMSG_DATA(header), sizeof fd);
    int answer = serve(what, fd);
    if (fd >= 0) close(fd);
    if (send(socket, &answer, sizeof answer, MSG_NOSIGNAL) < 0) return;
  }
}
