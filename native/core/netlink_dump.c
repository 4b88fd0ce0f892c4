/* What the kernel has: rtnetlink dumps as raw messages, and connection tracking. */
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netlink.h"

typedef struct dump_target {
  unsigned char *at;
  size_t capacity;
  size_t length;
} dump_target;

static int copy_message(const struct nlmsghdr *header, void *context) {
  dump_target *target = context;
  size_t size = NLMSG_ALIGN(header->nlmsg_len);
  if (target->length + size > target->capacity) return -ENOBUFS;
  memcpy(target->at + target->length, header, header->nlmsg_len);
  target->length += size;
  return 0;
}

static void begin_dump(nl_message *message, int kind) {
  switch (kind) {
    case RT_DUMP_LINKS: {
      nl_begin(message, RTM_GETLINK, 0, sizeof(struct ifinfomsg));
      nl_put_u32(message, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
      break;
    }
    case RT_DUMP_ADDRESSES: nl_begin(message, RTM_GETADDR, 0, sizeof(struct ifaddrmsg)); break;
    case RT_DUMP_ROUTES: nl_begin(message, RTM_GETROUTE, 0, sizeof(struct rtmsg)); break;
    case RT_DUMP_NEIGHBOURS: nl_begin(message, RTM_GETNEIGH, 0, sizeof(struct ndmsg)); break;
    case RT_DUMP_FDB: {
      struct ndmsg *info = nl_begin(message, RTM_GETNEIGH, 0, sizeof *info);
      info->ndm_family = AF_BRIDGE;
      break;
    }
    default: break;
  }
}

RT_API int rt_net_dump(int netns, int kind, void *buffer, int capacity, rt_error *err) {
  if (kind < RT_DUMP_LINKS || kind > RT_DUMP_FDB) return rt_fail(err, EINVAL, "unknown kind of dump %d", kind);
  nl_session session;
  dump_target target = {.at = buffer, .capacity = capacity};
  int result = nl_open(&session, NETLINK_ROUTE, err);
  if (result >= 0) result = nl_enter(&session, netns, err);
  if (result >= 0) {
    /* A dump that changes cut short is taken again; one torn to the end is what the next pass corrects. */
    for (int attempt = 0; attempt < 5; attempt++) {
      nl_message message;
      target.length = 0;
      begin_dump(&message, kind);
      result = nl_dump(&session, &message, copy_message, &target, err);
      if (result != -EAGAIN) break;
    }
    if (result == -EAGAIN) result = 0;
    if (result == -ENOBUFS) rt_fail(err, ENOBUFS, "the dump does not fit in %d bytes", capacity);
  }
  nl_close(&session);
  return result < 0 ? result : (int)target.length;
}

/* ---- conntrack ---- */

typedef struct forget_context {
  const unsigned char *addresses;
  int count;
  size_t size; /* of one address */
  unsigned char *found; /* copies of the origin tuples to delete, one after the other as attributes */
  size_t length;
  size_t capacity;
} forget_context;

static const struct nlattr *find_attribute(const void *data, int length, int type) {
  const struct nlattr *at = data;
  while (length >= (int)sizeof *at && at->nla_len >= sizeof *at && at->nla_len <= length) {
    if ((at->nla_type & NLA_TYPE_MASK) == type) return at;
    int step = NLA_ALIGN(at->nla_len);
    length -= step;
    at = (const void *)((const char *)at + step);
  }
  return NULL;
}

static const struct nlattr *find_nested(const struct nlattr *parent, int type) {
  if (!parent) return NULL;
  return find_attribute((const char *)parent + NLA_HDRLEN, parent->nla_len - NLA_HDRLEN, type);
}

static int is_wanted(const forget_context *context, const struct nlattr *address) {
  if (!address || address->nla_len != NLA_HDRLEN + context->size) return 0;
  for (int i = 0; i < context->count; i++)
    if (!memcmp((const char *)address + NLA_HDRLEN, context->addresses + i * context->size, context->size)) return 1;
  return 0;
}

static int note_entry(const struct nlmsghdr *header, void *opaque) {
  forget_context *context = opaque;
  if (header->nlmsg_len < NLMSG_LENGTH(sizeof(struct nfgenmsg))) return 0;
  const char *body = (const char *)NLMSG_DATA(header) + NLMSG_ALIGN(sizeof(struct nfgenmsg));
  int length = header->nlmsg_len - NLMSG_LENGTH(NLMSG_ALIGN(sizeof(struct nfgenmsg)));
  const struct nlattr *origin = find_attribute(body, length, CTA_TUPLE_ORIG);
  const struct nlattr *reply = find_attribute(body, length, CTA_TUPLE_REPLY);
  if (!origin) return 0;
  int source = context->size == 4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC;
  int destination = context->size == 4 ? CTA_IP_V4_DST : CTA_IP_V6_DST;
  const struct nlattr *origin_ip = find_nested(origin, CTA_TUPLE_IP);
  const struct nlattr *reply_ip = find_nested(reply, CTA_TUPLE_IP);
  /* Behind a virtual address the endpoint shows as the source of the reply alone. */
  if (!is_wanted(context, find_nested(origin_ip, source)) && !is_wanted(context, find_nested(origin_ip, destination)) &&
      !is_wanted(context, find_nested(reply_ip, source)))
    return 0;
  size_t size = NLA_ALIGN(origin->nla_len);
  if (context->length + size > context->capacity) {
    size_t capacity = context->capacity ? context->capacity * 2 : 16384;
    unsigned char *grown = realloc(context->found, capacity);
    if (!grown) return -ENOMEM;
    context->found = grown;
    context->capacity = capacity;
  }
  memcpy(context->found + context->length, origin, origin->nla_len);
  context->length += size;
  return 0;
}

static void begin_conntrack(nl_message *message, int verb, uint16_t flags, int family) {
  struct nfgenmsg *info = nl_begin(message, NFNL_SUBSYS_CTNETLINK << 8 | verb, flags, sizeof *info);
  info->nfgen_family = family;
  info->version = NFNETLINK_V0;
}

static int delete_noted(nl_session *session, const forget_context *context, int family, rt_error *err) {
  int deleted = 0;
  for (size_t at = 0; at < context->length;) {
    const struct nlattr *origin = (const void *)(context->found + at);
    nl_message message;
    begin_conntrack(&message, IPCTNL_MSG_CT_DELETE, 0, family);
    nl_put(&message, CTA_TUPLE_ORIG | NLA_F_NESTED, (const char *)origin + NLA_HDRLEN, origin->nla_len - NLA_HDRLEN);
    int result = nl_request(session, &message, err);
    /* An entry that ended by itself meanwhile is as good. */
    if (result < 0 && result != -ENOENT) return rt_fail(err, -result, "delete a conntrack entry");
    deleted += result == 0;
    at += NLA_ALIGN(origin->nla_len);
  }
  return deleted;
}

/* How many entries the namespace has: a dump walks the table of all namespaces, 7 ms of it, for those of one. */
static int has_entries(void) {
  char text[16] = "1";
  int fd = open("/proc/sys/net/netfilter/nf_conntrack_count", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 1;
  ssize_t got = read(fd, text, sizeof text - 1);
  close(fd);
  return !(got > 0 && text[0] == '0');
}

RT_API int rt_conntrack_forget(int netns, int family, const void *addresses, int count, rt_error *err) {
  nl_session session;
  forget_context context = {.addresses = addresses, .count = count, .size = family == AF_INET6 ? 16 : 4};
  int result = nl_open(&session, NETLINK_NETFILTER, err);
  if (result >= 0) result = nl_enter(&session, netns, err);
  if (result >= 0 && has_entries()) {
    nl_message message;
    begin_conntrack(&message, IPCTNL_MSG_CT_GET, 0, family);
    result = nl_dump(&session, &message, note_entry, &context, err);
    if (result == -EAGAIN) result = 0;
    if (result == -ENOMEM) rt_fail(err, ENOMEM, "list conntrack entries");
  }
  if (result >= 0) result = delete_noted(&session, &context, family, err);
  free(context.found);
  nl_close(&session);
  return result;
}
