import { expect, test } from 'vitest';
import { goFileMode } from './files.js';

// Source: Go, io/fs, FileMode.
test.each([
  ['a file', 0o100644, 0o644],
  ['a directory', 0o040755, 0x80000000 + 0o755],
  ['a sticky directory', 0o041777, 0x80100000 + 0o777],
  ['a link', 0o120777, 0x08000000 + 0o777],
  ['a block device', 0o060660, 0x04000000 + 0o660],
  ['a character device', 0o020666, 0x04200000 + 0o666],
  ['a fifo', 0o010600, 0x02000000 + 0o600],
  ['a socket', 0o140600, 0x01000000 + 0o600],
  ['a set-id program', 0o106755, 0x00c00000 + 0o755],
])('the mode of %s is as Go writes it', (_, mode, expected) => {
  expect(goFileMode(mode)).toBe(expected);
});
