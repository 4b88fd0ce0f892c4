/* Network namespaces that outlive their maker, sockets and nftables inside another one. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "netlink.h"

#define OWN_NETNS "/proc/thread-self/ns/net"

static int is_namespace_file(int fd) {
  struct statfs info;
  return fstatfs(fd, &info) == 0 && info.f_type == NSFS_MAGIC;
}

RT_API int rt_netns_open(const char *path, rt_error *err) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return rt_fail(err, errno, "open network namespace %s", path);
  if (is_namespace_file(fd)) return fd;
  close(fd);
  return rt_fail(err, ENOENT, "%s is not a namespace", path);
}

RT_API int rt_netns_create(const char *path, rt_error *err) {
  int file = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return rt_fail(err, errno, "create %s", path);
  /* A file without a mount is what a crash, or a mount namespace's end, left. */
  if (is_namespace_file(file)) return file;
  close(file);
  int own = open(OWN_NETNS, O_RDONLY | O_CLOEXEC);
  if (own < 0) return rt_fail(err, errno, "open the thread's own network namespace");
  int result = 0;
  if (unshare(CLONE_NEWNET) < 0) {
    result = rt_fail(err, errno, "make a network namespace");
  } else {
    if (mount(OWN_NETNS, path, NULL, MS_BIND, NULL) < 0)
      result = rt_fail(err, errno, "bind a network namespace to %s", path);
    if (setns(own, CLONE_NEWNET) < 0) abort();
  }
  close(own);
  return result < 0 ? result : rt_netns_open(path, err);
}

RT_API int rt_netns_remove(const char *path, rt_error *err) {
  while (umount2(path, MNT_DETACH) == 0) continue;
  if (errno != EINVAL && errno != ENOENT) return rt_fail(err, errno, "unmount %s", path);
  if (unlink(path) < 0 && errno != ENOENT) return rt_fail(err, errno, "remove %s", path);
  return 0;
}

static int fill_address(struct sockaddr_in *to, const char *address, int port) {
  *to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
  return inet_pton(AF_INET, address, &to->sin_addr) == 1 ? 0 : -EINVAL;
}

static int open_socket(const struct sockaddr_in *address, int type, int connects) {
  int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  int on = 1;
  int result = 0;
  if (connects) {
    if (connect(fd, (const void *)address, sizeof *address) < 0 && errno != EINPROGRESS) result = -errno;
  } else {
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const void *)address, sizeof *address) < 0) result = -errno;
  }
  if (result == 0) return fd;
  close(fd);
  return result;
}

RT_API int rt_netns_socket(int netns, const char *address, int port, int flags, int *bound_port, rt_error *err) {
  struct sockaddr_in wanted;
  if (fill_address(&wanted, address, port) < 0) return rt_fail(err, EINVAL, "%s is not an IPv4 address", address);
  nl_session session;
  int result = nl_open(&session, NETLINK_ROUTE, err);
  if (result >= 0) result = nl_enter(&session, netns, err);
  if (result >= 0) {
    int type = flags & RT_SOCKET_STREAM ? SOCK_STREAM : SOCK_DGRAM;
    result = open_socket(&wanted, type, flags & RT_SOCKET_CONNECT);
    if (result < 0) rt_fail(err, -result, "open a socket on %s:%d in another namespace", address, port);
  }
  nl_close(&session);
  if (result < 0) return result;
  struct sockaddr_in bound = {0};
  socklen_t size = sizeof bound;
  getsockname(result, (struct sockaddr *)&bound, &size);
  *bound_port = ntohs(bound.sin_port);
  return result;
}

/* ---- libnftables, loaded at first need: no -dev package, and hosts without it can run all the rest ---- */

static struct {
  void *(*ctx_new)(uint32_t);
  void (*ctx_free)(void *);
  int (*buffer_output)(void *);
  int (*buffer_error)(void *);
  const char *(*get_output)(void *);
  const char *(*get_error)(void *);
  void (*output_flags)(void *, unsigned int);
  int (*run)(void *, const char *);
} nft;

static pthread_mutex_t nft_lock = PTHREAD_MUTEX_INITIALIZER;
static int nft_loaded;

static int load_nft(rt_error *err) {
  if (nft_loaded) return 0;
  void *library = dlopen("libnftables.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) return rt_fail(err, ENOSYS, "load libnftables.so.1 (Debian's package libnftables1)");
  struct {
    void *slot;
    const char *name;
  } symbols[] = {
      {&nft.ctx_new, "nft_ctx_new"},
      {&nft.ctx_free, "nft_ctx_free"},
      {&nft.buffer_output, "nft_ctx_buffer_output"},
      {&nft.buffer_error, "nft_ctx_buffer_error"},
      {&nft.get_output, "nft_ctx_get_output_buffer"},
      {&nft.get_error, "nft_ctx_get_error_buffer"},
      {&nft.output_flags, "nft_ctx_output_set_flags"},
      {&nft.run, "nft_run_cmd_from_buffer"},
  };
  for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
    void *found = dlsym(library, symbols[i].name);
    if (!found) return rt_fail(err, ENOSYS, "libnftables.so.1 has no %s", symbols[i].name);
    memcpy(symbols[i].slot, &found, sizeof found);
  }
  nft_loaded = 1;
  return 0;
}

/* libnftables tells what failed in words alone. */
static int nft_errno(const char *text) {
  if (strstr(text, "No such file")) return ENOENT;
  if (strstr(text, "File exists")) return EEXIST;
  if (strstr(text, "Device or resource busy")) return EBUSY;
  if (strstr(text, "Operation not permitted")) return EPERM;
  return EINVAL;
}

/* Whether `fd` is a netfilter socket: in this process only libnftables and conntrack have any. */
static int is_netfilter_socket(int fd) {
  int domain = 0, protocol = 0;
  socklen_t size = sizeof domain;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_NETLINK &&
         getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 && protocol == NETLINK_NETFILTER;
}

/*
 * A context, and another descriptor of its socket in `held`, so that freeing the context is not the socket's end.
 * libnftables does not tell the socket: it is the lowest free descriptor, unless another thread was quicker, and then
 * `held` is -1 and freeing merely takes long.
 */
static void *new_context(int *held) {
  int lowest = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (lowest >= 0) close(lowest);
  void *context = nft.ctx_new(0);
  *held = context && lowest >= 0 && is_netfilter_socket(lowest) ? fcntl(lowest, F_DUPFD_CLOEXEC, 0) : -1;
  return context;
}

static int run_nft(const char *commands, int json, char *output, int capacity, rt_error *err) {
  int held;
  void *context = new_context(&held);
  if (!context) return rt_fail(err, ENOMEM, "make an nftables context");
  nft.buffer_output(context);
  nft.buffer_error(context);
  if (json) nft.output_flags(context, 1u << 4 /* NFT_CTX_OUTPUT_JSON */);
  int result;
  if (nft.run(context, commands) != 0) {
    const char *text = nft.get_error(context);
    result = rt_fail(err, nft_errno(text), "nftables: %.*s", 220, text);
  } else {
    const char *text = nft.get_output(context);
    size_t length = strlen(text);
    if (length < (size_t)capacity) memcpy(output, text, length + 1);
    result = (int)length;
  }
  nft.ctx_free(context);
  if (held >= 0) nl_close_later(held);
  return result;
}

RT_API int rt_nft_run(int netns, const char *commands, int json, char *output, int capacity, rt_error *err) {
  nl_session session;
  pthread_mutex_lock(&nft_lock);
  int result = load_nft(err);
  if (result >= 0) {
    result = nl_open(&session, NETLINK_ROUTE, err);
    if (result >= 0) result = nl_enter(&session, netns, err);
    if (result >= 0) result = run_nft(commands, json, output, capacity, err);
    nl_close(&session);
  }
  pthread_mutex_unlock(&nft_lock);
  return result;
}
