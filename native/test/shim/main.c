/* Everything in the shim that parses, under AddressSanitizer and UBSan. */
#include "check.h"

int checks_failed;

int main(void) {
  test_spec();
  test_user();
  test_text();
  test_frames();
  test_log();
  test_client();
  test_labels();
  if (checks_failed) fprintf(stderr, "%d checks failed\n", checks_failed);
  else puts("all checks passed");
  return checks_failed != 0;
}
