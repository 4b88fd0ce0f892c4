/*
 * spec.h: a container's spec, as the agent compiles it (native/src/spec.ts) and the shim reads it.
 *
 * This file is its one definition: the table below is read by the C compiler and, in a test, by the
 * TypeScript side, which must have the same table.
 *
 * A spec is a header and a list of records, little endian, in one sealed memfd. The shim maps it and reads it
 * in place: every pointer it uses points into the mapping, after the whole list has been checked once.
 *
 *   header:  u32 magic, u32 version, u32 size of everything in bytes, u32 count of records
 *   record:  u16 type, u16 count of numbers, u32 count of strings, u32 size of blob, u32 size of the record
 *            then the numbers (u64 each), the blob, the strings (each ended by NUL), zeros up to a multiple of 8
 *
 * The order of records is the order of work: mounts, devices and masks are made as they are listed.
 */
#ifndef TESSERA_SPEC_H
#define TESSERA_SPEC_H

#include <stddef.h>
#include <stdint.h>

#define SPEC_MAGIC 0x43505354u /* "TSPC" */
#define SPEC_VERSION 1
#define SPEC_SIZE_MAX (8u << 20)
#define SPEC_RECORDS_MAX 65536u
#define SPEC_STRINGS_MAX 65536u /* in one record: pointers to them lie on the stack */

/* Count of strings: any; how often a record occurs: exactly once, at most once, as often as one likes. */
#define SPEC_ANY 0xffffffffu
enum spec_occurs { SPEC_ONE, SPEC_MAYBE, SPEC_MANY };

/* X(name, type, numbers, strings, occurs): the numbers' and strings' meaning in the comment. */
#define SPEC_RECORDS(X)                                                                                     \
  X(ID, 1, 0, 1, ONE)              /* container id */                                                       \
  X(DIRS, 2, 0, 2, ONE)            /* directory that outlives a boot, directory that does not */            \
  X(BOOT, 3, 0, 1, ONE)            /* boot id, for the run record */                                        \
  X(LOG, 4, 2, 0, ONE)             /* bytes of a segment, segments kept; 0: no log */                       \
  X(NAMESPACES, 5, 1, 0, ONE)      /* CLONE_NEW* flags */                                                   \
  X(HOSTNAME, 6, 0, 1, MAYBE)      /* host name */                                                          \
  X(SHIM_GROUP, 7, 0, 1, MANY)     /* file that the shim writes "0" to, to join its own cgroup */           \
  X(GROUP, 8, 1, 2, MANY)          /* SPEC_GROUP_* flags; directory that the group, named by ID, is in; file to join by */ \
  X(GROUP_FILE, 9, 1, SPEC_ANY, MANY) /* SPEC_GROUP_FILE_*; file, values written one by one: of the GROUP before it */ \
  X(OOM_FILE, 10, 0, 1, MAYBE)     /* file of the GROUP before it, with a line "oom_kill N" */              \
  X(DEVICE_RULE, 11, 4, 0, MANY)   /* v2 allow-list: type (0 any, 'b', 'c'), major, minor (-1: any), access bits */ \
  X(ROOT, 12, 1, SPEC_ANY, ONE)    /* SPEC_ROOT_*; directory that layers are relative to, layers, top first */ \
  X(MOUNT, 13, 2, SPEC_ANY, MANY)  /* MOUNT_ATTR_*, SPEC_MOUNT_*; target, file system, then its options */  \
  X(BIND, 14, 3, SPEC_ANY, MANY)   /* MOUNT_ATTR_*, SPEC_MOUNT_*, MS_* propagation; target, source, or what lies beneath it */ \
  X(DEVICE, 15, 5, 1, MANY)        /* mode with type, major, minor, owner, group; path */                   \
  X(SYMLINK, 16, 1, 2, MANY)       /* SPEC_LINK_*; path, what it says */                                    \
  X(MASK, 17, 0, 1, MANY)          /* path hidden, if it exists */                                          \
  X(READONLY, 18, 0, 1, MANY)      /* path made read-only, if it exists */                                  \
  X(SYSCTL, 19, 0, 2, MANY)        /* path below /proc/sys, value */                                        \
  X(RLIMIT, 20, 3, 0, MANY)        /* resource, soft, hard */                                               \
  X(OOM_SCORE, 21, 1, 0, MAYBE)    /* oom_score_adj, as a signed number */                                  \
  X(CAPABILITIES, 22, 2, 0, ONE)   /* bounding set, ambient set; root's permitted set is the bounding one */ \
  X(SECCOMP, 23, 1, 0, MAYBE)      /* SECCOMP_FILTER_FLAG_*; blob: struct sock_filter[] */                  \
  X(USER, 24, 0, 1, ONE)           /* "user[:group]" by name or number; empty: root */                      \
  X(GROUPS, 25, 0, SPEC_ANY, MAYBE) /* more groups, by name or number */                                    \
  X(CWD, 26, 0, 1, ONE)            /* absolute path, made if missing */                                     \
  X(FLAGS, 27, 1, 0, ONE)          /* SPEC_FLAG_* */                                                        \
  X(ENV, 28, 0, SPEC_ANY, ONE)     /* NAME=value; HOME is added when missing */                             \
  X(ARGS, 29, 0, SPEC_ANY, ONE)    /* the command, at least one */                                          \
  X(FILE, 30, 1, 1, MANY)          /* mode, SPEC_FILE_*; name below the second of DIRS; blob: content */    \
  X(JOIN, 31, 1, 2, MANY)          /* CLONE_NEW* flags of what another container lends; its id, its run directory */ \
  X(APPARMOR, 32, 0, 1, MAYBE)     /* profile that the command is executed under */                         \
  X(LABELS, 33, 0, 4, MAYBE)       /* SELinux: the command's (empty: none), its mounts', any container's, any's to read */

/*
 * An exec's spec is of the same form, with these records alone; what it does not say is as in the container's spec.
 * Its ENV is laid over the container's; its FLAGS are STDIN and TTY. X(name, occurs)
 */
#define SPEC_EXEC_RECORDS(X) \
  X(ID, ONE)                 \
  X(APPARMOR, MAYBE)         \
  X(CAPABILITIES, MAYBE)     \
  X(USER, MAYBE)             \
  X(CWD, MAYBE)              \
  X(FLAGS, ONE)              \
  X(ENV, ONE)                \
  X(ARGS, ONE)

enum spec_type {
#define X(name, type, numbers, strings, occurs) SPEC_##name = type,
  SPEC_RECORDS(X)
#undef X
  SPEC_TYPE_END
};

#define SPEC_GROUP_CLONE_INTO 1u  /* v2: the process is cloned into it; else it writes "0" to the file */
#define SPEC_GROUP_SHARED 2u      /* v1: the directory itself is the group, for all containers: nothing is limited there */
#define SPEC_GROUP_FILE_OPTIONAL 1u /* a kernel without the file is fine */
#define SPEC_ROOT_READONLY 1u
#define SPEC_ROOT_PARTS 2u        /* overlayfs takes layers one by one (Linux 6.5) */
#define SPEC_FILE_KEPT 65536u /* beside the mode: whoever asks for the start has written it, and may still */
#define SPEC_MOUNT_FILE 1u      /* the target is a file */
#define SPEC_MOUNT_SYSTEM 2u    /* the target is ours to make: no symbolic link on its way is followed */
#define SPEC_MOUNT_OPTIONAL 4u  /* a kernel without the file system is fine */
#define SPEC_MOUNT_RECURSIVE 8u
#define SPEC_MOUNT_RELATIVE 16u /* the source is a FILE of this spec, not a path */
#define SPEC_MOUNT_GROUP 32u    /* the source is the directory of a GROUP, without the group's own name */
#define SPEC_MOUNT_LENT 64u     /* not made but lent by the one that is joined: the file system says what, proc or shm */
#define SPEC_MOUNT_SHARED 128u  /* the container's /dev/shm, which others that join its IPC may be lent */
#define SPEC_MOUNT_BASE 256u    /* every container has it, whatever its user asks for, as those of SYSTEM, RELATIVE and GROUP */
#define SPEC_MOUNT_PEER 512u     /* a peer of the host's mount: what is mounted below it on one side shows on the other */
#define SPEC_MOUNT_PROPAGATE_ALL 1024u /* the propagation is also that of all mounts below */
#define SPEC_MOUNT_ATTRIBUTES_TOP 2048u /* the attributes are not those of the mounts below */
#define SPEC_MOUNT_LABEL 4096u /* the source, with all that is in it, gets the label of the container's mounts first */
#define SPEC_MOUNT_LABEL_SHARED 8192u /* the same with that of any container */
#define SPEC_LINK_REPLACE 1u    /* in the place of a file of the container's own layer, by whatever links lead there */
#define SPEC_FLAG_NO_NEW_PRIVILEGES 1u
#define SPEC_FLAG_STDIN 2u      /* keep stdin open for attach */
#define SPEC_FLAG_TTY 4u        /* a terminal of its own, kept by the shim */
#define SPEC_FLAG_INIT 8u       /* our init is executed, and it the command: init.h */

/* One record, pointing into the mapping. */
struct spec_record {
  uint16_t type;
  uint32_t number_count, string_count, blob_size;
  const uint8_t *number; /* 8 bytes each, aligned */
  const uint8_t *blob;
  const char *string;    /* the first of string_count, one after the other */
};

struct spec {
  const uint8_t *data;
  uint32_t size;
};

/* Checks everything: bounds, counts, NULs, and that each type occurs as it must. 0, or -1 with `reason` set. */
int spec_open(struct spec *spec, const void *data, size_t size, const char **reason);
/* The same for an exec's spec. */
int spec_open_exec(struct spec *spec, const void *data, size_t size, const char **reason);
/* The next record from *offset, which starts at 0. 1, or 0 at the end. Only after spec_open. */
int spec_next(const struct spec *spec, uint32_t *offset, struct spec_record *record);
/* The first record of a type. 1, or 0 when there is none. */
int spec_find(const struct spec *spec, enum spec_type type, struct spec_record *record);
/* Whether a MOUNT or BIND is one that the user asked for, not one that every container has. */
int spec_is_users(const struct spec_record *record);
/* Whether it is a BIND of a file that every container has a version of: hosts, hostname, resolv.conf. */
int spec_is_own_file(const struct spec_record *record);
uint64_t spec_number(const struct spec_record *record, uint32_t index);
/* The string after `string` of the same record; the caller counts. */
const char *spec_string_after(const char *string);
const char *spec_string(const struct spec_record *record, uint32_t index);

#endif
