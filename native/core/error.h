/* Filling an rt_error. Private to core/. */
#ifndef TESSERA_CORE_ERROR_H
#define TESSERA_CORE_ERROR_H

#include "../include/rt.h"

/* Fills `err` (may be null) from `status` (an errno, positive) and a printf message; returns -status. */
int rt_fail(rt_error *err, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
