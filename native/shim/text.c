#include "text.h"

#include <string.h>

void text_init(struct text *text, char *buffer, size_t size) {
  *text = (struct text){.at = buffer, .size = size};
  buffer[0] = 0;
}

void text_add(struct text *text, const char *string) {
  size_t length = strlen(string), room = text->size - 1 - text->used;
  if (length > room) {
    length = room;
    text->cut = 1;
  }
  memcpy(text->at + text->used, string, length);
  text->used += length;
  text->at[text->used] = 0;
}

void text_padded(struct text *text, uint64_t number, unsigned width) {
  char digits[24];
  unsigned at = sizeof digits - 1;
  digits[at] = 0;
  do {
    digits[--at] = (char)('0' + number % 10);
    number /= 10;
  } while (number);
  while (sizeof digits - 1 - at < width && at > 0) digits[--at] = '0';
  text_add(text, digits + at);
}

void text_number(struct text *text, uint64_t number) { text_padded(text, number, 1); }

void text_hex16(struct text *text, uint64_t number) {
  char digits[17];
  for (int i = 15; i >= 0; i--, number >>= 4) digits[i] = "0123456789abcdef"[number & 15];
  digits[16] = 0;
  text_add(text, digits);
}

int text_parse(const char *string, uint64_t max, uint64_t *number) {
  uint64_t value = 0;
  if (!*string) return -1;
  for (; *string; string++) {
    if (*string < '0' || *string > '9') return -1;
    uint64_t digit = (uint64_t)(*string - '0');
    if (value > max / 10 || value * 10 > max - digit) return -1;
    value = value * 10 + digit;
  }
  *number = value;
  return 0;
}

static uint64_t digits_at(const char *at) {
  uint64_t value = 0;
  while (*at >= '0' && *at <= '9' && value < UINT64_MAX / 10 - 1) value = value * 10 + (uint64_t)(*at++ - '0');
  return value;
}

uint64_t text_counter(const char *content, const char *key) {
  size_t length = strlen(key);
  for (const char *line = content; line && *line; line = strchr(line, '\n')) {
    if (*line == '\n') line++;
    if (!strncmp(line, key, length) && line[length] == ' ') return digits_at(line + length + 1);
  }
  return 0;
}

uint64_t text_stat_field(const char *stat, unsigned index) {
  const char *at = strrchr(stat, ')'); /* the end of field 2 */
  for (unsigned field = 2; at && field < index; field++) {
    at = strchr(at, ' ');
    if (at) at++;
  }
  return at ? digits_at(at) : 0;
}
