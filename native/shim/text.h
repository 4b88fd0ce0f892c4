/* Small text: numbers to digits and back, and lines built in a fixed buffer. No stdio, so the shim stays small. */
#ifndef TESSERA_SHIM_TEXT_H
#define TESSERA_SHIM_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* Text that grows to a bound; `cut` tells that something did not fit. Always ended by NUL. */
struct text {
  char *at;
  size_t size, used;
  int cut;
};

void text_init(struct text *text, char *buffer, size_t size);
void text_add(struct text *text, const char *string);
void text_number(struct text *text, uint64_t number);
/* At least `width` digits. */
void text_padded(struct text *text, uint64_t number, unsigned width);
void text_hex16(struct text *text, uint64_t number);
/* A whole string of decimal digits, at most `max`. 0, or -1. */
int text_parse(const char *string, uint64_t max, uint64_t *number);
/* The number after "key " at the beginning of a line of `content`; 0 when there is none. */
uint64_t text_counter(const char *content, const char *key);
/* Field `index`, from 1 as in proc(5), of /proc/PID/stat; 0 when malformed. The name may hold anything. */
uint64_t text_stat_field(const char *stat, unsigned index);

#endif
