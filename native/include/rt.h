/*
 * rt.h: the whole public C surface of libcore.so, loaded by koffi into the agent.
 *
 * Conventions. Every fallible function returns >= 0, or a negative errno, and then has filled its last
 * argument. Arguments are integers, strings and buffers; nothing calls back. What takes time returns a
 * descriptor that the caller polls. Every descriptor returned is CLOEXEC and the caller's to close.
 * A function that enters a namespace restores the thread's own before it returns, or aborts the process.
 * Mirrored by native/src; a change on either side belongs in the same commit.
 */
#ifndef TESSERA_RT_H
#define TESSERA_RT_H

#include <stddef.h>
#include <stdint.h>

#define RT_API __attribute__((visibility("default")))

/* What failed: the errno, and one sentence without it ("mount overlay at /x"). */
typedef struct rt_error {
  int status;
  char message[256];
} rt_error;

/* ---- sections below belong to core/<subject>.c, one each ---- */

/* ---- network: core/netlink*.c ---- */

/*
 * One change to the kernel's network state. Which fields count depends on `kind`; the others are zero.
 * Fixed layout, 248 bytes, mirrored by native/src/netlink.ts.
 */
typedef struct rt_net_op {
  uint16_t kind;      /* RT_NET_BRIDGE … */
  uint16_t flags;     /* RT_NET_UP … */
  int32_t netns;      /* namespace it happens in: a descriptor, or -1 for the caller's own */
  int32_t peer_netns; /* the veth peer's, or where the link is put; -1: the same */
  uint32_t mtu;       /* 0: as it is */
  char name[16];
  char peer[16];   /* veth: the other end's name; LINK_SET: the new name */
  char master[16]; /* bridge to join */
  uint8_t mac[8];  /* six bytes; zero: not given. Veth: the peer's */
  uint8_t addr[16]; /* network order; four bytes for AF_INET */
  uint8_t gateway[16];
  uint8_t family; /* AF_INET, AF_INET6 */
  uint8_t prefix;
  uint16_t port;     /* VXLAN: UDP destination port, host order */
  uint32_t reserved;
  uint32_t number;   /* VXLAN: VNI; PORT: RT_PORT_* */
  char path[96];     /* SYSCTL: below /proc/sys/net/ */
  char value[36];
} rt_net_op;

enum {
  RT_NET_BRIDGE = 1,
  RT_NET_VETH = 2,
  RT_NET_VXLAN = 3,
  RT_NET_LINK_SET = 4,
  RT_NET_LINK_DELETE = 5,
  RT_NET_PORT = 6,
  RT_NET_ADDR_ADD = 7,
  RT_NET_ADDR_DELETE = 8,
  RT_NET_ROUTE_ADD = 9,
  RT_NET_ROUTE_DELETE = 10,
  RT_NET_FDB_ADD = 11,
  RT_NET_FDB_DELETE = 12,
  RT_NET_NEIGH_ADD = 13,
  RT_NET_NEIGH_DELETE = 14,
  RT_NET_SYSCTL = 15,
};
enum {
  RT_NET_MAY_EXIST = 1,    /* EEXIST is success */
  RT_NET_MAY_MISS = 2,     /* ENOENT, ENODEV, ESRCH, EADDRNOTAVAIL are success */
  RT_NET_UP = 4,           /* LINK_SET */
  RT_NET_DOWN = 8,         /* LINK_SET; new links: leave it down */
  RT_NET_MASTER = 16,      /* FDB: in the table of the bridge the named port belongs to */
  RT_NET_VIA = 32,         /* ROUTE: by `gateway` */
  RT_NET_UDP_CHECKSUM = 64, /* VXLAN: outer checksums */
  RT_NET_NO_MASTER = 128,  /* LINK_SET: leave the bridge */
};
enum { RT_PORT_LEARNING = 1, RT_PORT_FLOOD = 2, RT_PORT_ISOLATED = 4, RT_PORT_LOCKED = 8 };

/*
 * Makes the changes in order, each in its namespace, and stops at the first that fails; `done` is how many
 * were made. Source: rtnetlink(7), linux/if_link.h, linux/neighbour.h.
 */
RT_API int rt_net_batch(const rt_net_op *ops, int count, int *done, rt_error *err);

enum { RT_DUMP_LINKS = 1, RT_DUMP_ADDRESSES = 2, RT_DUMP_ROUTES = 3, RT_DUMP_NEIGHBOURS = 4, RT_DUMP_FDB = 5 };
/* Raw netlink messages, each padded to 4 bytes, one after the other. Returns their length; -ENOBUFS: more room. */
RT_API int rt_net_dump(int netns, int kind, void *buffer, int capacity, rt_error *err);

/*
 * Deletes the connection tracking entries, of any protocol, that begin at, go to or are answered by one of the
 * addresses (packed, network order, `count` of them). Returns how many were deleted.
 */
RT_API int rt_conntrack_forget(int netns, int family, const void *addresses, int count, rt_error *err);

/* A descriptor of the network namespace bound to `path` or shown there by /proc. ENOENT: not a namespace. */
RT_API int rt_netns_open(const char *path, rt_error *err);
/* The namespace bound to `path`, made when there is none: it lives until rt_netns_remove or the mount's end. */
RT_API int rt_netns_create(const char *path, rt_error *err);
/* Unbinds it; whatever is inside ends with the last process and descriptor. May be repeated. */
RT_API int rt_netns_remove(const char *path, rt_error *err);

enum { RT_SOCKET_STREAM = 1, RT_SOCKET_CONNECT = 2 };
/*
 * A non-blocking UDP (or RT_SOCKET_STREAM) socket that belongs to `netns`, bound to address and port (0: any), or
 * with RT_SOCKET_CONNECT on its way to them. Returns its descriptor and the port it has here.
 */
RT_API int rt_netns_socket(int netns, const char *address, int port, int flags, int *bound_port, rt_error *err);

/*
 * Runs nft commands (text, one transaction) in `netns`. Returns the length of the answer, which has been copied
 * when it is below `capacity`. Calls take turns: libnftables keeps global state. Source: libnftables(3).
 */
RT_API int rt_nft_run(int netns, const char *commands, int json, char *output, int capacity, rt_error *err);

/* ---- helper_spawn.c ---- */

#define RT_NONE -1
#define RT_PIPE -2

/* What a helper is given: a descriptor of the caller's, RT_PIPE for one end of a pipe, or RT_NONE. */
typedef struct rt_helper {
  int input_fd;   /* becomes 0 */
  int output_fd;  /* becomes 3 */
  int process_fd; /* becomes 5; not a pipe */
  int spec_size;
  const void *spec; /* becomes 4, sealed */
} rt_helper;

/*
 * Starts `path` (ts-unpack, ts-archive) with `argv`, ended by a null pointer; it reports on 1. It is killed when the
 * calling thread ends. Gives in `fds` a pidfd, the read end of its reports, and this end of the pipes to its input and
 * from its output (-1 where none was asked for).
 */
RT_API int rt_helper_spawn(const char *path, char *const *argv, const rt_helper *given, int fds[4], rt_error *err);
RT_API int rt_helper_kill(int pidfd, rt_error *err);
/* Once the pidfd is readable: its exit code, or 128 and the signal. EAGAIN: it still runs. */
RT_API int rt_helper_reap(int pidfd, rt_error *err);
/* A pidfd of a process, which may be another one's by now: whoever asks must know better. ESRCH: there is none. */
RT_API int rt_pidfd_open(int pid, rt_error *err);
/*
 * A duplicate of the socket that process `pid` has as `fd`, if its inode is `inode`: by now the number may be another
 * one's. ESTALE: it is. Source: pidfd_getfd(2).
 */
RT_API int rt_connection_take(int pid, int fd, uint64_t inode, rt_error *err);
/* Writes all of the file system that holds `path` to disk. May take long. Source: syncfs(2). */
RT_API int rt_syncfs(const char *path, rt_error *err);

/* ---- shim_spawn.c ---- */

/*
 * Starts a shim from a sealed copy of `path`; it waits for its spec, and ends when the other end of its socket does.
 * Returns its pid, and in `fds` this end of the socket, non-blocking, and a pidfd. Takes some tenths of a millisecond.
 */
RT_API int rt_shim_spawn(const char *path, int fds[2], rt_error *err);
/* Hands a shim its spec (include/spec.h), sealed; from then on it speaks docs/shim-protocol.md. */
RT_API int rt_shim_begin(int socket, const void *spec, int size, rt_error *err);
/*
 * Connects to the shim that listens in `run_dir`. Returns its pid as the kernel gives it, and `fds` as above. The pidfd
 * is the shim's once an answer has come over the socket. ECONNREFUSED, ENOENT: there is none.
 */
RT_API int rt_shim_connect(const char *run_dir, int fds[2], rt_error *err);
/* Signals by pidfd. A process that has ended is no error. */
RT_API int rt_process_signal(int pidfd, int signal, rt_error *err);
/* Takes the zombie of a process whose pidfd is readable, if it is a child of ours. EAGAIN: it still runs. */
RT_API int rt_process_reap(int pidfd, rt_error *err);
/* What is there to read now, at most `size` bytes; 0: the other end is closed; EAGAIN: nothing yet. */
RT_API int rt_socket_receive(int fd, void *buffer, int size, rt_error *err);
/* Sends all of it at once or fails (EAGAIN: the other end does not read). */
RT_API int rt_socket_send(int fd, const void *bytes, int size, rt_error *err);

/* ---- group.c ---- */

/* Kills everything in the cgroup and below it (v2 cgroup.kill; v1 freeze, kill, thaw) until it is empty. Blocks. */
RT_API int rt_group_kill(const char *path, rt_error *err);
/*
 * Removes cgroups and directory trees, two lists of paths each ended by a null pointer; what is missing is fine.
 * Goes through all of them and reports the first failure. Follows no symbolic link, leaves other file systems
 * alone (EXDEV), and bears trees of any depth. Blocks.
 */
RT_API int rt_clear(const char *const *groups, const char *const *trees, rt_error *err);
/* Makes two directories, their parents being there, and a file in the first one. What exists stays. Blocks. */
RT_API int rt_container_make(const char *data_dir, const char *run_dir, const char *name, const void *content, int size,
                             rt_error *err);
/* Removes the second and renames the first to `trash`, on the same file system, to be cleared later. Blocks. */
RT_API int rt_container_discard(const char *run_dir, const char *data_dir, const char *trash, rt_error *err);

/* ---- volume.c ---- */

/* Mounts `device` on `target`; `flags` are MS_* of mount(2), propagation included, `data` what is the file system's own. */
RT_API int rt_volume_mount(const char *device, const char *target, const char *type, unsigned flags, const char *data,
                           rt_error *err);
/* Takes it away, from whoever still looks at it too; what is not mounted is fine. */
RT_API int rt_volume_unmount(const char *target, rt_error *err);

/* ---- daemon_spawn.c ---- */

/*
 * Starts `path` in a session of its own, with `argv` and `envp` each ended by a null pointer, standard output and
 * error to `output_fd`. It outlives this process. Returns its pid, and a pidfd for rt_process_reap.
 */
RT_API int rt_daemon_spawn(const char *path, char *const *argv, char *const *envp, int output_fd, int *pidfd,
                           rt_error *err);

#endif
