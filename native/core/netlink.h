/* A netlink socket that moves between network namespaces, and building of messages. Private to core/. */
#ifndef TESSERA_CORE_NETLINK_H
#define TESSERA_CORE_NETLINK_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "error.h"

/* Where a thread is and was. Zero-initialised by nl_open; always closed by nl_close, which restores the thread. */
typedef struct nl_session {
  int own_netns; /* descriptor of the thread's own namespace */
  int netns;     /* the namespace it is in: a caller's descriptor, or -1 for its own */
  int protocol;
  int sock; /* opened at first need in each namespace */
  uint32_t seq;
} nl_session;

/* `protocol` as in socket(AF_NETLINK): NETLINK_ROUTE, NETLINK_NETFILTER. */
int nl_open(nl_session *session, int protocol, rt_error *err);
/* Moves the calling thread into `netns` (-1: its own). */
int nl_enter(nl_session *session, int netns, rt_error *err);
/* The session's socket in the namespace it is in. */
int nl_socket(nl_session *session, rt_error *err);
/* Closes everything; aborts the process when the thread cannot go home, since it would work on for the wrong one. */
void nl_close(nl_session *session);

/* Closes a netfilter socket without waiting for the kernel, which may take tens of milliseconds. */
void nl_close_later(int fd);

/* A message under construction. Overflow is remembered and met when it is sent. */
typedef struct nl_message {
  _Alignas(NLMSG_ALIGNTO) unsigned char bytes[2048];
  size_t length;
  int overflow;
} nl_message;

#define nl_header(message) ((struct nlmsghdr *)(message)->bytes)

/* Starts a message with `body_size` zeroed bytes after the netlink header; returns them. */
void *nl_begin(nl_message *message, uint16_t type, uint16_t flags, size_t body_size);
void nl_put(nl_message *message, uint16_t type, const void *data, size_t size);
void nl_put_u8(nl_message *message, uint16_t type, uint8_t value);
void nl_put_u16(nl_message *message, uint16_t type, uint16_t value);
void nl_put_u32(nl_message *message, uint16_t type, uint32_t value);
void nl_put_string(nl_message *message, uint16_t type, const char *text);
size_t nl_nest(nl_message *message, uint16_t type);
void nl_nest_end(nl_message *message, size_t start);
/* `size` zeroed bytes inside a nest, for headers that stand between attributes. */
void *nl_reserve(nl_message *message, size_t size);

/* Sends and waits for the kernel's answer: 0, or -errno with err->message untouched. */
int nl_request(nl_session *session, nl_message *message, rt_error *err);

/* Called for each message of a dump; a negative return ends it. */
typedef int (*nl_visit)(const struct nlmsghdr *header, void *context);
/* Runs a dump to its end: 0, -EAGAIN when it was interrupted by changes, or -errno. */
int nl_dump(nl_session *session, nl_message *message, nl_visit visit, void *context, rt_error *err);

#endif
