#include "../../shim/text.h"
#include "check.h"

void test_text(void) {
  char buffer[12];
  struct text text;
  text_init(&text, buffer, sizeof buffer);
  text_number(&text, 0);
  text_add(&text, " ");
  text_padded(&text, 42, 4);
  CHECK(!strcmp(buffer, "0 0042") && !text.cut);
  text_number(&text, UINT64_MAX);
  CHECK(text.cut && strlen(buffer) == 11); /* cut at the bound, ended by NUL */

  char hex[17];
  text_init(&text, hex, sizeof hex);
  text_hex16(&text, 0xabc);
  CHECK(!strcmp(hex, "0000000000000abc"));

  uint64_t number;
  CHECK(text_parse("18446744073709551615", UINT64_MAX, &number) == 0 && number == UINT64_MAX);
  CHECK(text_parse("18446744073709551616", UINT64_MAX, &number) == -1);
  CHECK(text_parse("", 9, &number) == -1 && text_parse("1 ", 9, &number) == -1 && text_parse("-1", 9, &number) == -1);

  const char *events = "low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 0\n";
  CHECK(text_counter(events, "oom_kill") == 3 && text_counter(events, "oom") == 2);
  CHECK(text_counter(events, "missing") == 0 && text_counter("", "oom") == 0);
  CHECK(text_counter("oom_kill_disable 1\nunder_oom 0\noom_kill 5", "oom_kill") == 5);
  CHECK(text_counter("oom_kill ", "oom_kill") == 0);
  CHECK(text_counter("oom_kill 99999999999999999999999", "oom_kill") > 0); /* no overflow that is undefined */

  const char *stat = "12 (a) 3 (b) S 1 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 100";
  CHECK(text_stat_field(stat, 22) == 777 && text_stat_field(stat, 4) == 1);
  CHECK(text_stat_field("12 (x", 22) == 0 && text_stat_field("", 22) == 0 && text_stat_field("1 (x) S", 22) == 0);
}
