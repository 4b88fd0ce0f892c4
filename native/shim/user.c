#include "user.h"

#include <string.h>
#include <unistd.h>

#include "text.h"

#define LINE 4096u

/* Reads lines of a bounded file; a line longer than the buffer is passed over, as no program could mean it. */
struct lines {
  int fd;
  uint32_t total, begin, end;
  int skipping;
  char buffer[LINE];
};

static char *next_line(struct lines *lines) {
  for (;;) {
    char *start = lines->buffer + lines->begin;
    char *newline = memchr(start, '\n', lines->end - lines->begin);
    if (newline) {
      *newline = 0;
      lines->begin = (uint32_t)(newline + 1 - lines->buffer);
      if (!lines->skipping) return start;
      lines->skipping = 0;
      continue;
    }
    if (lines->begin == 0 && lines->end == LINE - 1) {
      lines->skipping = 1;
      lines->end = 0;
    }
    memmove(lines->buffer, lines->buffer + lines->begin, lines->end - lines->begin);
    lines->end -= lines->begin;
    lines->begin = 0;
    ssize_t got = lines->total < USER_FILE_MAX && lines->fd >= 0
                      ? read(lines->fd, lines->buffer + lines->end, LINE - 1 - lines->end)
                      : 0;
    if (got > 0) {
      lines->end += (uint32_t)got;
      lines->total += (uint32_t)got;
      continue;
    }
    if (lines->end == 0 || lines->skipping) return 0;
    lines->buffer[lines->end] = 0; /* the last line, without its newline */
    lines->begin = lines->end = 0;
    lines->fd = -1;
    return lines->buffer;
  }
}

/* Cuts `line` at colons. Returns the count of fields found, at most `max`. */
static unsigned split(char *line, char **field, unsigned max) {
  unsigned count = 0;
  while (count < max) {
    field[count++] = line;
    char *colon = strchr(line, ':');
    if (!colon) break;
    *colon = 0;
    line = colon + 1;
  }
  return count;
}

static void rewind_to(struct lines *lines, int fd) {
  *lines = (struct lines){.fd = fd};
  if (fd >= 0) lseek(fd, 0, SEEK_SET);
}

static int number_of(const char *text, uint32_t *id) {
  uint64_t value;
  if (text_parse(text, USER_ID_MAX, &value)) return -1;
  *id = (uint32_t)value;
  return 0;
}

static int all_digits(const char *text) {
  if (!*text) return 0;
  for (; *text; text++)
    if (*text < '0' || *text > '9') return 0;
  return 1;
}

/* Finds the entry of a name or number. `name` gets its login name. 1 when found. */
static int find_user(const char *wanted, int passwd, struct user *user, char name[256]) {
  struct lines lines;
  char *field[7];
  uint32_t uid, gid, wanted_id = 0;
  int by_number = number_of(wanted, &wanted_id) == 0;
  rewind_to(&lines, passwd);
  for (char *line; (line = next_line(&lines));) {
    unsigned count = split(line, field, 7);
    if (count < 4 || number_of(field[2], &uid) || number_of(field[3], &gid)) continue;
    if (strcmp(field[0], wanted) && !(by_number && uid == wanted_id)) continue;
    user->uid = uid;
    user->gid = gid;
    if (count >= 6 && strlen(field[5]) < USER_HOME_MAX) strcpy(user->home, field[5]);
    if (strlen(field[0]) < 256) strcpy(name, field[0]);
    return 1;
  }
  return 0;
}

static void add_id(struct user *user, uint32_t gid) {
  for (uint32_t i = 0; i < user->group_count; i++)
    if (user->groups[i] == gid) return;
  if (user->group_count < USER_GROUPS_MAX) user->groups[user->group_count++] = gid;
}

static int lists(char *members, const char *name) {
  for (char *next; members; members = next) {
    if ((next = strchr(members, ','))) *next++ = 0;
    if (!strcmp(members, name)) return 1;
  }
  return 0;
}

/* The groups that list this user. */
static void add_memberships(const char *name, int group, struct user *user) {
  struct lines lines;
  char *field[4];
  uint32_t gid;
  rewind_to(&lines, group);
  for (char *line; (line = next_line(&lines));)
    if (split(line, field, 4) == 4 && !number_of(field[2], &gid) && lists(field[3], name)) add_id(user, gid);
}

static enum user_error find_group(const char *wanted, int group, uint32_t *gid) {
  struct lines lines;
  char *field[4];
  uint32_t wanted_id = 0;
  int by_number = number_of(wanted, &wanted_id) == 0;
  rewind_to(&lines, group);
  for (char *line; (line = next_line(&lines));) {
    if (split(line, field, 4) < 3 || number_of(field[2], gid)) continue;
    if (!strcmp(field[0], wanted) || (by_number && *gid == wanted_id)) return USER_OK;
  }
  if (!by_number) return all_digits(wanted) ? USER_RANGE : USER_UNKNOWN_GROUP;
  *gid = wanted_id;
  return USER_OK;
}

enum user_error user_resolve(const char *spec, int passwd, int group, struct user *user, char buffer[256],
                             const char **culprit) {
  char name[256] = "";
  *user = (struct user){.home = "/"};
  *culprit = buffer;
  if (strlen(spec) > 255) {
    memcpy(buffer, spec, 255);
    buffer[255] = 0;
    return USER_UNKNOWN;
  }
  strcpy(buffer, spec);
  char *colon = strchr(buffer, ':');
  char *group_part = colon ? colon + 1 : buffer + strlen(buffer);
  if (colon) *colon = 0;

  const char *wanted = *buffer ? buffer : "0";
  if (!find_user(wanted, passwd, user, name)) {
    if (!all_digits(wanted)) return USER_UNKNOWN;
    if (number_of(wanted, &user->uid)) return USER_RANGE;
  }
  if (*group_part) {
    *culprit = group_part;
    return find_group(group_part, group, &user->gid);
  }
  if (*name) add_memberships(name, group, user);
  return USER_OK;
}

enum user_error user_add_group(const char *name, int group, struct user *user) {
  uint32_t gid;
  enum user_error error = find_group(name, group, &gid);
  if (error == USER_OK) add_id(user, gid);
  return error;
}
