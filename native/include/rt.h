/*
 * rt.h: the whole public C surface of libcore.so, loaded by koffi into the agent.
 *
 * Conventions. Every fallible function returns >= 0, or a negative errno, and then has filled its last
 * argument. Arguments are integers, strings and buffers; nothing calls back. What takes time returns a
 * descriptor that the caller polls. Every descriptor returned is CLOEXEC and the caller's to close.
 * A function that enters a namespace restores the thread's own before it returns, or aborts the process.
 * Mirrored by native/src; a change on either side belongs in the same commit.
 */
#ifndef TESSERA_RT_H
#define TESSERA_RT_H

#include <stddef.h>
#include <stdint.h>

#define RT_API __attribute__((visibility("default")))

/* What failed: the errno, and one sentence without it ("mount overlay at /x"). */
typedef struct rt_error {
  int status;
  char message[256];
} rt_error;

/* ---- sections below belong to core/<subject>.c, one each ---- */

#endif
