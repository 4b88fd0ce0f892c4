#include "unpack.h"

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

int opaque_request(int socket, int fd) {
  union control control = {0};
  char byte = 0;
  struct iovec iov = {&byte, 1};
  struct msghdr message = {
      .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &fd, sizeof fd);

  int status = 0;
  struct iovec answer_iov = {&status, sizeof status};
  struct msghdr answer = {.msg_iov = &answer_iov, .msg_iovlen = 1};
  if (sendmsg(socket, &message, MSG_NOSIGNAL) != 1 || recvmsg(socket, &answer, 0) != sizeof status)
    return fail(KIND_INTERNAL, "the unpacker's monitor is gone");
  if (status == 0) return 0;
  errno = status;
  return fail_errno("marking a directory opaque");
}

static int serve(int fd) {
  struct stat st;
  if (fd < 0) return EBADF;
  if (fstat(fd, &st) < 0) return errno;
  if (!S_ISDIR(st.st_mode)) return ENOTDIR;
  return fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) < 0 ? errno : 0;
}

void opaque_serve(int socket) {
  for (;;) {
    union control control = {0};
    char byte;
    struct iovec iov = {&byte, 1};
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
    int status = serve(fd);
    if (fd >= 0) close(fd);
    if (send(socket, &status, sizeof status, MSG_NOSIGNAL) < 0) return;
  }
}
