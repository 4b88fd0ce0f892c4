/* One batch of changes to links, addresses, routes, forwarding entries and sysctls, over any namespaces. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/veth.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "netlink.h"

_Static_assert(sizeof(rt_net_op) == 248, "mirrored by native/src/netlink.ts");

static const unsigned char NO_MAC[6];

static int has_mac(const rt_net_op *op) { return memcmp(op->mac, NO_MAC, 6) != 0; }
static size_t addr_size(const rt_net_op *op) { return op->family == AF_INET6 ? 16 : 4; }

/* Index of a link in the namespace the session is in, or -errno. */
static int link_index(nl_session *session, const char *name, rt_error *err) {
  struct ifreq request = {0};
  memcpy(request.ifr_name, name, IFNAMSIZ - 1);
  int sock = nl_socket(session, err);
  if (sock < 0) return sock;
  return ioctl(sock, SIOCGIFINDEX, &request) < 0 ? -errno : request.ifr_ifindex;
}

static int put_master(nl_session *session, nl_message *m, const rt_net_op *op, rt_error *err) {
  if (!op->master[0]) return 0;
  int master = link_index(session, op->master, err);
  if (master < 0) return master;
  nl_put_u32(m, IFLA_MASTER, master);
  return 0;
}

/* Opens a message that makes a link which comes up at once. Its kind and data follow. */
static void begin_link(nl_message *m, const rt_net_op *op) {
  struct ifinfomsg *info = nl_begin(m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof *info);
  info->ifi_family = AF_UNSPEC;
  info->ifi_flags = info->ifi_change = op->flags & RT_NET_DOWN ? 0 : IFF_UP;
  nl_put_string(m, IFLA_IFNAME, op->name);
  if (op->mtu) nl_put_u32(m, IFLA_MTU, op->mtu);
}

static int add_bridge(nl_session *session, nl_message *m, const rt_net_op *op, rt_error *err) {
  begin_link(m, op);
  if (has_mac(op)) nl_put(m, IFLA_ADDRESS, op->mac, 6);
  size_t info = nl_nest(m, IFLA_LINKINFO);
  nl_put_string(m, IFLA_INFO_KIND, "bridge");
  size_t data = nl_nest(m, IFLA_INFO_DATA);
  nl_put_u32(m, IFLA_BR_FORWARD_DELAY, 0);
  nl_put_u32(m, IFLA_BR_STP_STATE, 0);
  nl_put_u8(m, IFLA_BR_MCAST_SNOOPING, 0);
  nl_nest_end(m, data);
  nl_nest_end(m, info);
  return nl_request(session, m, err);
}

static int add_veth(nl_session *session, nl_message *m, const rt_net_op *op, rt_error *err) {
  begin_link(m, op);
  int result = put_master(session, m, op, err);
  if (result < 0) return result;
  size_t info = nl_nest(m, IFLA_LINKINFO);
  nl_put_string(m, IFLA_INFO_KIND, "veth");
  size_t data = nl_nest(m, IFLA_INFO_DATA);
  size_t peer = nl_nest(m, VETH_INFO_PEER);
  /* Down: the kernel refuses to raise the peer (ENOTCONN) before this end has been tied to it. */
  nl_reserve(m, sizeof(struct ifinfomsg));
  nl_put_string(m, IFLA_IFNAME, op->peer);
  if (op->mtu) nl_put_u32(m, IFLA_MTU, op->mtu);
  if (has_mac(op)) nl_put(m, IFLA_ADDRESS, op->mac, 6);
  if (op->peer_netns >= 0) nl_put_u32(m, IFLA_NET_NS_FD, op->peer_netns);
  nl_nest_end(m, peer);
  nl_nest_end(m, data);
  nl_nest_end(m, info);
  return nl_request(session, m, err);
}

/* Its outer packets leave by the namespace of the request, whichever it is put into. */
static int add_vxlan(nl_session *session, nl_message *m, const rt_net_op *op, rt_error *err) {
  begin_link(m, op);
  if (op->peer_netns >= 0) nl_put_u32(m, IFLA_NET_NS_FD, op->peer_netns);
  size_t info = nl_nest(m, IFLA_LINKINFO);
  nl_put_string(m, IFLA_INFO_KIND, "vxlan");
  size_t data = nl_nest(m, IFLA_INFO_DATA);
  nl_put_u32(m, IFLA_VXLAN_ID, op->number);
  nl_put(m, op->family == AF_INET6 ? IFLA_VXLAN_LOCAL6 : IFLA_VXLAN_LOCAL, op->addr, addr_size(op));
  nl_put_u16(m, IFLA_VXLAN_PORT, htons(op->port));
  nl_put_u8(m, IFLA_VXLAN_LEARNING, 0);
  nl_put_u8(m, IFLA_VXLAN_PROXY, 1);
  nl_put_u8(m, IFLA_VXLAN_UDP_CSUM, op->flags & RT_NET_UDP_CHECKSUM ? 1 : 0);
  nl_nest_end(m, data);
  nl_nest_end(m, info);
  return nl_request(session, m, err);
}

static int set_link(nl_session *session, nl_message *m, const rt_net_op *op, rt_error *err) {
  struct ifinfomsg *info = nl_begin(m, RTM_NEWLINK, 0, sizeof *info);
  int index = link_index(session, op->name, err);
  if (index < 0) return index;
  info->ifi_index = index;
  info->ifi_change = op->flags & (RT_NET_UP | RT_NET_DOWN) ? IFF_UP : 0;
  info->ifi_flags = op->flags & RT_NET_UP ? IFF_UP : 0;
  if (op->flags & RT_NET_NO_MASTER) nl_put_u32(m, IFLA_MASTER, 0);
  int result = put_master(session, m, op, err);
  if (result < 0) return result;
  if (op->mtu) nl_put_u32(m, IFLA_MTU, op->mtu);
  if (has_mac(op)) nl_put(m, IFLA_ADDRESS, op->mac, 6);
  if (op->peer[0]) nl_put_string(m, IFLA_IFNAME, op->peer);
  if (op->peer_netns >= 0) nl_put_u32(m, IFLA_NET_NS_FD, op->peer_netns);
  return nl_request(session, m, err);
}

static int delete_link(nl_session *session, nl_message *m, const rt_net_op *op, rt_error *err) {
  nl_begin(m, RTM_DELLINK, 0, sizeof(struct ifinfomsg));
  nl_put_string(m, IFLA_IFNAME, op->name);
  return nl_request(session, m, err);
}

/* A bridge port's switches: which are on is in op->number. */
static int set_port(nl_session *session, nl_message *m, const rt_net_op *op, rt_error *err) {
  struct ifinfomsg *info = nl_begin(m, RTM_NEWLINK, 0, sizeof *info);
  int index = link_index(session, op->name, err);
  if (index < 0) return index;
  info->ifi_index = index;
  size_t link = nl_nest(m, IFLA_LINKINFO);
  nl_put_string(m, IFLA_INFO_SLAVE_KIND, "bridge");
  size_t data = nl_nest(m, IFLA_INFO_SLAVE_DATA);
  nl_put_u8(m, IFLA_BRPORT_LEARNING, (op->number & RT_PORT_LEARNING) != 0);
  nl_put_u8(m, IFLA_BRPORT_UNICAST_FLOOD, (op->number & RT_PORT_FLOOD) != 0);
  nl_put_u8(m, IFLA_BRPORT_ISOLATED, (op->number & RT_PORT_ISOLATED) != 0);
  nl_put_u8(m, IFLA_BRPORT_LOCKED, (op->number & RT_PORT_LOCKED) != 0);
  nl_nest_end(m, data);
  nl_nest_end(m, link);
  return nl_request(session, m, err);
}

static int change_address(nl_session *session, nl_message *m, const rt_net_op *op, rt_error *err) {
  int add = op->kind == RT_NET_ADDR_ADD;
  struct ifaddrmsg *info =
      nl_begin(m, add ? RTM_NEWADDR : RTM_DELADDR, add ? NLM_F_CREATE | NLM_F_EXCL : 0, sizeof *info);
  int index = link_index(session, op->name, err);
  if (index < 0) return index;
  info->ifa_family = op->family;
  info->ifa_prefixlen = op->prefix;
  info->ifa_index = index;
  info->ifa_scope = RT_SCOPE_UNIVERSE;
  if (op->family == AF_INET6) info->ifa_flags = IFA_F_NODAD;
  nl_put(m, IFA_LOCAL, op->addr, addr_size(op));
  nl_put(m, IFA_ADDRESS, op->addr, addr_size(op));
  if (add && op->family == AF_INET && op->prefix < 31) {
    uint32_t addr;
    memcpy(&addr, op->addr, 4);
    addr |= htonl(op->prefix ? 0xffffffffu >> op->prefix : 0xffffffffu);
    nl_put_u32(m, IFA_BROADCAST, addr);
  }
  return nl_request(session, m, err);
}

static int change_route(nl_session *session, nl_message *m, const rt_net_op *op, rt_error *err) {
  int add = op->kind == RT_NET_ROUTE_ADD;
  struct rtmsg *info =
      nl_begin(m, add ? RTM_NEWROUTE : RTM_DELROUTE, add ? NLM_F_CREATE | NLM_F_EXCL : 0, sizeof *info);
  int routed = op->flags & RT_NET_VIA;
  info->rtm_family = op->family;
  info->rtm_dst_len = op->prefix;
  info->rtm_table = RT_TABLE_MAIN;
  info->rtm_protocol = add ? RTPROT_STATIC : RTPROT_UNSPEC;
  info->rtm_scope = !add ? RT_SCOPE_NOWHERE : routed ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  info->rtm_type = add ? RTN_UNICAST : RTN_UNSPEC;
  if (op->prefix) nl_put(m, RTA_DST, op->addr, addr_size(op));
  if (routed) nl_put(m, RTA_GATEWAY, op->gateway, addr_size(op));
  if (op->name[0]) {
    int index = link_index(session, op->name, err);
    if (index < 0) return index;
    nl_put_u32(m, RTA_OIF, index);
  }
  return nl_request(session, m, err);
}

/* In the bridge's table (RT_NET_MASTER, of the port named) or in the VXLAN device's own (with a destination). */
static int change_fdb(nl_session *session, nl_message *m, const rt_net_op *op, rt_error *err) {
  int add = op->kind == RT_NET_FDB_ADD;
  struct ndmsg *info =
      nl_begin(m, add ? RTM_NEWNEIGH : RTM_DELNEIGH, add ? NLM_F_CREATE | NLM_F_REPLACE : 0, sizeof *info);
  int index = link_index(session, op->name, err);
  if (index < 0) return index;
  info->ndm_family = AF_BRIDGE;
  info->ndm_ifindex = index;
  info->ndm_state = op->flags & RT_NET_MASTER ? NUD_NOARP : NUD_PERMANENT | NUD_NOARP;
  info->ndm_flags = op->flags & RT_NET_MASTER ? NTF_MASTER : NTF_SELF;
  nl_put(m, NDA_LLADDR, op->mac, 6);
  if (!(op->flags & RT_NET_MASTER)) nl_put(m, NDA_DST, op->addr, addr_size(op));
  return nl_request(session, m, err);
}

static int change_neighbour(nl_session *session, nl_message *m, const rt_net_op *op, rt_error *err) {
  int add = op->kind == RT_NET_NEIGH_ADD;
  struct ndmsg *info =
      nl_begin(m, add ? RTM_NEWNEIGH : RTM_DELNEIGH, add ? NLM_F_CREATE | NLM_F_REPLACE : 0, sizeof *info);
  int index = link_index(session, op->name, err);
  if (index < 0) return index;
  info->ndm_family = op->family;
  info->ndm_ifindex = index;
  info->ndm_state = NUD_PERMANENT;
  nl_put(m, NDA_DST, op->addr, addr_size(op));
  if (add) nl_put(m, NDA_LLADDR, op->mac, 6);
  return nl_request(session, m, err);
}

/* /proc/sys/net shows the namespace of the thread that opens it. */
static int write_sysctl(const rt_net_op *op) {
  char path[sizeof op->path + 16];
  snprintf(path, sizeof path, "/proc/sys/net/%s", op->path);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  ssize_t written = write(fd, op->value, strlen(op->value));
  int result = written < 0 ? -errno : 0;
  close(fd);
  return result;
}

static int apply(nl_session *session, const rt_net_op *op, rt_error *err) {
  nl_message message;
  switch (op->kind) {
    case RT_NET_BRIDGE: return add_bridge(session, &message, op, err);
    case RT_NET_VETH: return add_veth(session, &message, op, err);
    case RT_NET_VXLAN: return add_vxlan(session, &message, op, err);
    case RT_NET_LINK_SET: return set_link(session, &message, op, err);
    case RT_NET_LINK_DELETE: return delete_link(session, &message, op, err);
    case RT_NET_PORT: return set_port(session, &message, op, err);
    case RT_NET_ADDR_ADD:
    case RT_NET_ADDR_DELETE: return change_address(session, &message, op, err);
    case RT_NET_ROUTE_ADD:
    case RT_NET_ROUTE_DELETE: return change_route(session, &message, op, err);
    case RT_NET_FDB_ADD:
    case RT_NET_FDB_DELETE: return change_fdb(session, &message, op, err);
    case RT_NET_NEIGH_ADD:
    case RT_NET_NEIGH_DELETE: return change_neighbour(session, &message, op, err);
    case RT_NET_SYSCTL: return write_sysctl(op);
    default: return -EINVAL;
  }
}

static const char *const VERBS[] = {
    "?",          "add bridge",     "add veth",  "add vxlan",    "set link",  "delete link",   "set port",  "add address",
    "delete address", "add route", "delete route", "add fdb entry", "delete fdb entry", "add neighbour",
    "delete neighbour", "write sysctl",
};

static int forgiven(int status, const rt_net_op *op) {
  if (status == -EEXIST) return op->flags & RT_NET_MAY_EXIST;
  return (status == -ENOENT || status == -ENODEV || status == -ESRCH || status == -EADDRNOTAVAIL) &&
         op->flags & RT_NET_MAY_MISS;
}

static int well_formed(const rt_net_op *op) {
  return op->kind < sizeof VERBS / sizeof *VERBS && !op->name[15] && !op->peer[15] && !op->master[15] &&
         !op->path[sizeof op->path - 1] && !op->value[sizeof op->value - 1] && !strstr(op->path, "..");
}

RT_API int rt_net_batch(const rt_net_op *ops, int count, int *done, rt_error *err) {
  nl_session session;
  *done = 0;
  int result = nl_open(&session, NETLINK_ROUTE, err);
  for (int i = 0; result >= 0 && i < count; i++) {
    const rt_net_op *op = &ops[i];
    if (!well_formed(op)) {
      result = rt_fail(err, EINVAL, "network change %d of the batch is malformed", i);
      break;
    }
    result = nl_enter(&session, op->netns, err);
    if (result < 0) break;
    result = apply(&session, op, err);
    if (result < 0 && forgiven(result, op)) result = 0;
    if (result < 0) {
      result = rt_fail(err, -result, "%s %s%s%s", VERBS[op->kind], op->kind == RT_NET_SYSCTL ? op->path : op->name,
                       op->master[0] ? " of " : op->peer[0] ? " and " : "", op->master[0] ? op->master : op->peer);
      break;
    }
    *done = i + 1;
  }
  nl_close(&session);
  return result < 0 ? result : 0;
}
