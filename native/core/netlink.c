#include "netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int nl_open(nl_session *session, int protocol, rt_error *err) {
  *session = (nl_session){.own_netns = -1, .netns = -1, .protocol = protocol, .sock = -1, .seq = 1};
  session->own_netns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (session->own_netns < 0) return rt_fail(err, errno, "open the thread's own network namespace");
  return 0;
}

static void close_socket(nl_session *session) {
  if (session->sock < 0) return;
  if (session->protocol == NETLINK_NETFILTER) nl_close_later(session->sock);
  else close(session->sock);
  session->sock = -1;
}

int nl_enter(nl_session *session, int netns, rt_error *err) {
  if (session->netns == netns) return 0;
  close_socket(session);
  if (setns(netns < 0 ? session->own_netns : netns, CLONE_NEWNET) < 0)
    return rt_fail(err, errno, "enter network namespace (descriptor %d)", netns);
  session->netns = netns;
  return 0;
}

int nl_socket(nl_session *session, rt_error *err) {
  if (session->sock >= 0) return session->sock;
  int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, session->protocol);
  if (sock < 0) return rt_fail(err, errno, "open a netlink socket");
  int on = 1;
  int size = 4 << 20;
  /* Answers without the request repeated in them; a dump of thousands of entries must not overrun. */
  setsockopt(sock, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  if (connect(sock, (struct sockaddr *)&kernel, sizeof kernel) < 0) {
    int status = errno;
    close(sock);
    return rt_fail(err, status, "connect a netlink socket");
  }
  return session->sock = sock;
}

void nl_close(nl_session *session) {
  close_socket(session);
  if (session->netns >= 0 && setns(session->own_netns, CLONE_NEWNET) < 0) abort();
  if (session->own_netns >= 0) close(session->own_netns);
  *session = (nl_session){.own_netns = -1, .netns = -1, .sock = -1};
}

void *nl_reserve(nl_message *message, size_t size) {
  /* A place to write to even when there is no room: the overflow is met at sending. */
  static _Thread_local unsigned char spill[256];
  size_t padded = NLMSG_ALIGN(size);
  if (message->length + padded > sizeof message->bytes) {
    message->overflow = 1;
    return memset(spill, 0, sizeof spill);
  }
  void *at = message->bytes + message->length;
  memset(at, 0, padded);
  message->length += padded;
  return at;
}

void *nl_begin(nl_message *message, uint16_t type, uint16_t flags, size_t body_size) {
  message->length = 0;
  message->overflow = 0;
  struct nlmsghdr *header = nl_reserve(message, sizeof *header);
  header->nlmsg_type = type;
  header->nlmsg_flags = NLM_F_REQUEST | flags;
  return nl_reserve(message, body_size);
}

void nl_put(nl_message *message, uint16_t type, const void *data, size_t size) {
  if (message->length + RTA_SPACE(size) > sizeof message->bytes) {
    message->overflow = 1;
    return;
  }
  struct rtattr *attribute = nl_reserve(message, RTA_LENGTH(size));
  attribute->rta_type = type;
  attribute->rta_len = RTA_LENGTH(size);
  if (size > 0) memcpy(RTA_DATA(attribute), data, size);
}

void nl_put_u8(nl_message *message, uint16_t type, uint8_t value) { nl_put(message, type, &value, sizeof value); }
void nl_put_u16(nl_message *message, uint16_t type, uint16_t value) { nl_put(message, type, &value, sizeof value); }
void nl_put_u32(nl_message *message, uint16_t type, uint32_t value) { nl_put(message, type, &value, sizeof value); }
void nl_put_string(nl_message *message, uint16_t type, const char *text) {
  nl_put(message, type, text, strlen(text) + 1);
}

size_t nl_nest(nl_message *message, uint16_t type) {
  size_t start = message->length;
  nl_put(message, type, NULL, 0);
  return start;
}

void nl_nest_end(nl_message *message, size_t start) {
  if (message->overflow) return;
  struct rtattr *attribute = (struct rtattr *)(message->bytes + start);
  attribute->rta_len = message->length - start;
}

static int nl_send(nl_session *session, nl_message *message, rt_error *err) {
  if (message->overflow) return rt_fail(err, EMSGSIZE, "netlink message is too long");
  int sock = nl_socket(session, err);
  if (sock < 0) return sock;
  struct nlmsghdr *header = nl_header(message);
  header->nlmsg_len = message->length;
  header->nlmsg_seq = ++session->seq;
  ssize_t sent;
  do sent = send(sock, message->bytes, message->length, 0);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? rt_fail(err, errno, "send a netlink message") : 0;
}

static ssize_t nl_receive(nl_session *session, void *buffer, size_t size) {
  ssize_t got;
  do got = recv(session->sock, buffer, size, 0);
  while (got < 0 && errno == EINTR);
  return got < 0 ? -errno : got;
}

int nl_request(nl_session *session, nl_message *message, rt_error *err) {
  nl_header(message)->nlmsg_flags |= NLM_F_ACK;
  int result = nl_send(session, message, err);
  if (result < 0) return result;
  _Alignas(NLMSG_ALIGNTO) char buffer[8192];
  for (;;) {
    ssize_t got = nl_receive(session, buffer, sizeof buffer);
    if (got < 0) return rt_fail(err, -got, "receive a netlink answer");
    size_t left = got;
    for (struct nlmsghdr *header = (void *)buffer; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left))
      if (header->nlmsg_seq == session->seq && header->nlmsg_type == NLMSG_ERROR)
        return ((struct nlmsgerr *)NLMSG_DATA(header))->error;
  }
}

int nl_dump(nl_session *session, nl_message *message, nl_visit visit, void *context, rt_error *err) {
  nl_header(message)->nlmsg_flags |= NLM_F_DUMP;
  int result = nl_send(session, message, err);
  if (result < 0) return result;
  static _Thread_local _Alignas(NLMSG_ALIGNTO) char buffer[65536];
  int interrupted = 0;
  for (;;) {
    ssize_t got = nl_receive(session, buffer, sizeof buffer);
    if (got < 0) return rt_fail(err, -got, "receive a netlink dump");
    size_t left = got;
    for (struct nlmsghdr *header = (void *)buffer; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_seq != session->seq) continue;
      if (header->nlmsg_flags & NLM_F_DUMP_INTR) interrupted = 1;
      if (header->nlmsg_type == NLMSG_DONE) return interrupted && result == 0 ? -EAGAIN : result;
      if (header->nlmsg_type == NLMSG_ERROR) {
        int status = ((struct nlmsgerr *)NLMSG_DATA(header))->error;
        return rt_fail(err, -status, "netlink dump");
      }
      /* Read on after a refusal, so that the socket is left empty for the next request. */
      if (result == 0) result = visit(header, context);
    }
  }
}
