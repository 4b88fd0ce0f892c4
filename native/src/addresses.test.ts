import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addressBytes, addressText, macBytes, macText } from './addresses.js';

test('addresses and MACs survive the way to bytes and back', () => {
  fc.assert(
    fc.property(fc.ipV4(), (text) => {
      expect(addressText(addressBytes(text))).toBe(text);
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      expect([...addressBytes(addressText(Buffer.from(bytes)))]).toEqual([...bytes]);
    }),
  );
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (bytes) => {
      expect([...macBytes(macText(Buffer.from(bytes)))]).toEqual([...bytes]);
    }),
  );
});

test('shortened and dotted IPv6 is understood', () => {
  expect(addressText(addressBytes('fd00::2'))).toBe('fd00:0:0:0:0:0:0:2');
  expect(addressText(addressBytes('::'))).toBe('0:0:0:0:0:0:0:0');
  expect(addressText(addressBytes('::ffff:10.0.0.1'))).toBe('0:0:0:0:0:ffff:a00:1');
});

test('what is no address is refused', () => {
  for (const text of ['', '10.0.0', '10.0.0.256', 'fe80::1%eth0', 'web'])
    expect(() => addressBytes(text)).toThrow(RangeError);
  expect(() => macBytes('02:42:0a')).toThrow(RangeError);
});
