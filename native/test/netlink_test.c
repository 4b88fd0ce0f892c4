/* What core/netlink*.c makes of messages that are cut short or lie about their lengths. Under the sanitizers. */
#include "../core/netlink_dump.c"

#include <stdio.h>

static int failures;
#define CHECK(condition, what) \
  do { \
    if (!(condition)) failures++, fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, what); \
  } while (0)

/* A conntrack entry of 10.0.0.1:1000 → 10.0.1.2:80, answered by 10.0.1.5. */
static void entry(nl_message *message) {
  static const unsigned char client[] = {10, 0, 0, 1}, vip[] = {10, 0, 1, 2}, backend[] = {10, 0, 1, 5};
  begin_conntrack(message, IPCTNL_MSG_CT_NEW, 0, AF_INET);
  const struct {
    int type;
    const unsigned char *source, *destination;
  } tuples[] = {{CTA_TUPLE_ORIG, client, vip}, {CTA_TUPLE_REPLY, backend, client}};
  for (int i = 0; i < 2; i++) {
    size_t tuple = nl_nest(message, tuples[i].type | NLA_F_NESTED);
    size_t ip = nl_nest(message, CTA_TUPLE_IP | NLA_F_NESTED);
    nl_put(message, CTA_IP_V4_SRC, tuples[i].source, 4);
    nl_put(message, CTA_IP_V4_DST, tuples[i].destination, 4);
    nl_nest_end(message, ip);
    nl_nest_end(message, tuple);
  }
  nl_header(message)->nlmsg_len = message->length;
}

/* A copy that ends where it is allocated to end, so that a read beyond is caught. */
static size_t note(const nl_message *message, size_t length, const unsigned char *address, int status) {
  struct nlmsghdr *copy = malloc(length > sizeof *copy ? length : sizeof *copy);
  memcpy(copy, message->bytes, length > sizeof *copy ? length : sizeof *copy);
  copy->nlmsg_len = length;
  forget_context context = {.addresses = address, .count = 1, .size = 4};
  CHECK(note_entry(copy, &context) == status, "status");
  size_t found = context.length;
  free(context.found);
  free(copy);
  return found;
}

static void finds_entries(void) {
  nl_message message;
  entry(&message);
  static const unsigned char addresses[][4] = {{10, 0, 0, 1}, {10, 0, 1, 2}, {10, 0, 1, 5}, {10, 0, 1, 6}};
  for (int i = 0; i < 4; i++)
    CHECK((note(&message, message.length, addresses[i], 0) > 0) == (i < 3), "an entry is found by its addresses");
}

static void survives_every_length_and_byte(void) {
  static const unsigned char backend[] = {10, 0, 1, 5};
  nl_message whole;
  entry(&whole);
  for (size_t length = sizeof(struct nlmsghdr); length <= whole.length; length++) note(&whole, length, backend, 0);
  for (size_t at = sizeof(struct nlmsghdr); at < whole.length; at++) {
    for (int value = 0; value < 256; value += 5) {
      nl_message message = whole;
      message.bytes[at] = value;
      note(&message, message.length, backend, 0);
    }
  }
}

static void refuses_what_does_not_fit(void) {
  nl_message message;
  static const unsigned char block[600];
  nl_begin(&message, RTM_NEWLINK, 0, sizeof(struct ifinfomsg));
  size_t nest = nl_nest(&message, IFLA_LINKINFO);
  for (int i = 0; i < 10; i++) nl_put(&message, 1, block, sizeof block);
  nl_reserve(&message, 16);
  nl_nest_end(&message, nest);
  CHECK(message.overflow, "a message that is too long is known to be");
  nl_session session = {.own_netns = -1, .netns = -1, .sock = -1};
  rt_error err;
  CHECK(nl_request(&session, &message, &err) == -EMSGSIZE, "and not sent");
}

static void copies_no_more_than_there_is_room_for(void) {
  unsigned char *buffer = malloc(100);
  dump_target target = {.at = buffer, .capacity = 100};
  nl_message message;
  entry(&message);
  int result = 0;
  for (int i = 0; i < 3 && result == 0; i++) result = copy_message(nl_header(&message), &target);
  CHECK(result == -ENOBUFS && target.length <= 100, "a dump stops where the room ends");
  free(buffer);
}

int main(void) {
  finds_entries();
  survives_every_length_and_byte();
  refuses_what_does_not_fit();
  copies_no_more_than_there_is_room_for();
  if (failures == 0) puts("netlink_test: ok");
  return failures ? 1 : 0;
}
