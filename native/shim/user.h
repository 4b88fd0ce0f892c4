/* Users and groups out of an image's own /etc/passwd and /etc/group, which may hold anything. */
#ifndef TESSERA_SHIM_USER_H
#define TESSERA_SHIM_USER_H

#include <stdint.h>
#include <sys/types.h>

#define USER_GROUPS_MAX 256u
#define USER_HOME_MAX 256u
#define USER_ID_MAX 0x7fffffffu /* past it, ids turn negative in some programs, and -1 means "leave it" */
#define USER_FILE_MAX (8u << 20)

enum user_error { USER_OK, USER_UNKNOWN, USER_UNKNOWN_GROUP, USER_RANGE };

struct user {
  uint32_t uid, gid;
  uint32_t groups[USER_GROUPS_MAX];
  uint32_t group_count;
  char home[USER_HOME_MAX];
};

/*
 * Resolves "user[:group]" as Docker does. `passwd` and `group` are descriptors of the files, or -1.
 * On failure `*culprit` points at the part that could not be resolved, in `buffer` of 256 bytes.
 * Source: moby/sys/user GetExecUser.
 */
enum user_error user_resolve(const char *spec, int passwd, int group, struct user *user, char buffer[256],
                             const char **culprit);
/* Adds one more group, by name or number. */
enum user_error user_add_group(const char *name, int group, struct user *user);

#endif
