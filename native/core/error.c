#include "error.h"

#include <stdarg.h>
#include <stdio.h>

int rt_fail(rt_error *err, int status, const char *format, ...) {
  if (err) {
    va_list args;
    err->status = status;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
  }
  return -status;
}
