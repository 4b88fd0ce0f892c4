import { errnoName } from './library.js';

/** The C library's sentence for an errno, as Docker's users know it. */
const SENTENCES: Record<string, string> = {
  EACCES: 'permission denied',
  E2BIG: 'argument list too long',
  EBUSY: 'device or resource busy',
  EEXIST: 'file exists',
  EFAULT: 'bad address',
  EINVAL: 'invalid argument',
  EISDIR: 'is a directory',
  ELOOP: 'too many levels of symbolic links',
  ENAMETOOLONG: 'file name too long',
  ENODEV: 'no such device',
  ENOENT: 'no such file or directory',
  ENOEXEC: 'exec format error',
  ENOMEM: 'cannot allocate memory',
  ENOSPC: 'no space left on device',
  ENOTDIR: 'not a directory',
  EPERM: 'operation not permitted',
  EROFS: 'read-only file system',
  ETXTBSY: 'text file busy',
};

export const errnoSentence = (errno: number): string => SENTENCES[errnoName(errno)] ?? errnoName(errno);
