/* The smallest of test frameworks: facts by name, and a count of those that fail. */
#ifndef TESSERA_TEST_CHECK_H
#define TESSERA_TEST_CHECK_H

#include <stdio.h>
#include <string.h>

extern int checks_failed;

#define CHECK(fact)                                                    \
  do {                                                                 \
    if (!(fact)) {                                                     \
      checks_failed++;                                                 \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact); \
    }                                                                  \
  } while (0)

void test_spec(void);
void test_user(void);
void test_text(void);
void test_frames(void);
void test_log(void);
void test_client(void);
void test_labels(void);

#endif
