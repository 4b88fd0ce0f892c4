/** What went wrong, in the words a caller can act on. */
export const ERROR_KINDS = [
  'invalidArgument',
  'unauthenticated',
  'permissionDenied',
  'notFound',
  'alreadyExists',
  'conflict',
  'failedPrecondition',
  'resourceExhausted',
  'aborted',
  'cancelled',
  'deadlineExceeded',
  'notModified',
  'unimplemented',
  'unavailable',
  'internal',
] as const;

export type ErrorKind = (typeof ERROR_KINDS)[number];

export const isErrorKind = (text: string): text is ErrorKind =>
  (ERROR_KINDS as readonly string[]).includes(text);
