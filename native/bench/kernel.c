#include "kernel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

double now_ms(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (double)at.tv_sec * 1e3 + (double)at.tv_nsec / 1e6;
}

void die(const char *what) {
  fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
  _exit(1);
}

void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) die(path);
  close(fd);
}

/* ---- rtnetlink: one request at a time, in a buffer that is large enough for all of them */

struct request {
  struct nlmsghdr header;
  char body[1024];
};

static void begin(struct request *request, int type, int flags, const void *fixed, size_t size) {
  memset(request, 0, sizeof *request);
  request->header.nlmsg_type = (unsigned short)type;
  request->header.nlmsg_flags = (unsigned short)(NLM_F_REQUEST | NLM_F_ACK | flags);
  request->header.nlmsg_len = NLMSG_LENGTH(size);
  memcpy(NLMSG_DATA(&request->header), fixed, size);
}

static struct rtattr *attribute(struct request *request, int type, const void *data, size_t size) {
  struct rtattr *attr = (struct rtattr *)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len));
  attr->rta_type = (unsigned short)type;
  attr->rta_len = (unsigned short)RTA_LENGTH(size);
  if (size) memcpy(RTA_DATA(attr), data, size);
  request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(attr->rta_len);
  return attr;
}

static void close_nest(struct request *request, struct rtattr *nest) {
  nest->rta_len = (unsigned short)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len) - (char *)nest);
}

static void ask(int route, struct request *request, const char *what) {
  char reply[4096];
  if (send(route, request, request->header.nlmsg_len, 0) < 0 || recv(route, reply, sizeof reply, 0) < 0) die(what);
  struct nlmsghdr *header = (struct nlmsghdr *)reply;
  struct nlmsgerr *result = NLMSG_DATA(header);
  if (header->nlmsg_type == NLMSG_ERROR && result->error) {
    errno = -result->error;
    die(what);
  }
}

int route_socket(void) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0) die("netlink");
  return fd;
}

static void set_up(int route, int index, int master) {
  struct request request;
  struct ifinfomsg link = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
  begin(&request, RTM_NEWLINK, 0, &link, sizeof link);
  if (master) attribute(&request, IFLA_MASTER, &master, sizeof master);
  ask(route, &request, "link up");
}

void make_veth(int route, const char *name, int master, pid_t pid) {
  struct request request;
  struct ifinfomsg link = {0};
  begin(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link, sizeof link);
  attribute(&request, IFLA_IFNAME, name, strlen(name) + 1);
  struct rtattr *info = attribute(&request, IFLA_LINKINFO, 0, 0);
  attribute(&request, IFLA_INFO_KIND, "veth", 5);
  struct rtattr *data = attribute(&request, IFLA_INFO_DATA, 0, 0);
  struct rtattr *peer = attribute(&request, VETH_INFO_PEER, &link, sizeof link);
  attribute(&request, IFLA_IFNAME, "eth0", 5);
  attribute(&request, IFLA_NET_NS_PID, &pid, sizeof pid);
  close_nest(&request, peer);
  close_nest(&request, data);
  close_nest(&request, info);
  ask(route, &request, "veth");
  set_up(route, (int)if_nametoindex(name), master);
}

void link_name(char link[32], const char *name, unsigned number) {
  size_t length = strlen(name);
  snprintf(link, 32, "%s%u", length > 9 ? name + length - 9 : name, number);
}

void set_address(int route, unsigned number) {
  struct request request;
  int eth0 = (int)if_nametoindex("eth0");
  in_addr_t address = htonl(0x0a630002 + number % 65000), gateway = htonl(0x0a630001);
  set_up(route, 1, 0);
  struct ifaddrmsg assigned = {.ifa_family = AF_INET, .ifa_prefixlen = 16, .ifa_index = (unsigned)eth0};
  begin(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &assigned, sizeof assigned);
  attribute(&request, IFA_LOCAL, &address, sizeof address);
  attribute(&request, IFA_ADDRESS, &address, sizeof address);
  ask(route, &request, "address");
  set_up(route, eth0, 0);
  struct rtmsg to = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT, .rtm_type = RTN_UNICAST};
  begin(&request, RTM_NEWROUTE, NLM_F_CREATE, &to, sizeof to);
  attribute(&request, RTA_GATEWAY, &gateway, sizeof gateway);
  ask(route, &request, "route");
}

/* ---- overlay */

void mount_overlay(const char *lower, const char *dir, const char *at) {
  char upper[512], work[512], options[2048];
  snprintf(upper, sizeof upper, "%s/upper", dir);
  snprintf(work, sizeof work, "%s/work", dir);
  if (mkdir(dir, 0755) || mkdir(upper, 0755) || mkdir(work, 0755)) die(dir);
  if (mkdir(at, 0755) && errno != EEXIST) die(at);
  snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work);
  if (mount("overlay", at, "overlay", 0, options)) die("overlay");
}

static int remove_one(const char *path, const struct stat *found, int type, struct FTW *where) {
  (void)found, (void)type, (void)where;
  return remove(path);
}

void remove_overlay(const char *dir) {
  if (nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS)) die(dir);
}

void run_command(char **command) {
  posix_spawn_file_actions_t actions;
  pid_t pid;
  int status;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
  posix_spawn_file_actions_adddup2(&actions, 0, 1);
  if (posix_spawnp(&pid, command[0], &actions, 0, command, environ)) die(command[0]);
  if (waitpid(pid, &status, 0) != pid || status) die("the command failed");
  posix_spawn_file_actions_destroy(&actions);
}
