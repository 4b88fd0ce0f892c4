import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import {
  ATTACH,
  EXEC_OWN,
  EXECS_MAX,
  encodeFrame,
  FRAME_HEADER,
  FRAME_PAYLOAD_MAX,
  FRAMES,
  FrameDecoder,
  PATIENCE_SHIFT,
  PATIENCE_UNIT_MS,
  SHIM_PROTOCOL,
  SHIM_STATES,
  STAGES,
  STDIN_WINDOW,
} from './frames.js';

const header = readFileSync(new URL('../include/shim.h', import.meta.url), 'utf8');
/** The X(name, number) lines of one table. */
const table = (name: string) => {
  const text = new RegExp(`#define ${name}\\(X\\)((?:.*\\\\\\n)+.*)`).exec(header)![1]!;
  return Object.fromEntries(
    [...text.matchAll(/X\((\w+), (\d+)\)/g)].map(([, key, value]) => [key, Number(value)]),
  );
};

test('both sides have the same frames, stages and states', () => {
  expect(table('SHIM_FRAMES')).toEqual(FRAMES);
  expect(table('SHIM_STAGES')).toEqual(STAGES);
  expect(header).toContain(`#define FRAME_HEADER ${FRAME_HEADER}u`);
  expect(header).toContain(`#define FRAME_PAYLOAD_MAX ${FRAME_PAYLOAD_MAX}u`);
  expect(header).toContain(`#define SHIM_PROTOCOL ${SHIM_PROTOCOL}u`);
  expect(header).toContain(`#define EXEC_OWN 0x${EXEC_OWN.toString(16)}u`);
  expect(header).toContain(`#define STDIN_WINDOW ${STDIN_WINDOW}u`);
  expect(header).toContain(`#define EXECS_MAX ${EXECS_MAX}u`);
  expect(header).toContain(`#define ATTACH_PATIENCE_SHIFT ${PATIENCE_SHIFT}u`);
  expect(header).toContain(`#define ATTACH_PATIENCE_UNIT_MS ${PATIENCE_UNIT_MS}u`);
  for (const [name, number] of Object.entries(ATTACH))
    expect(header).toContain(`#define ATTACH_${name} ${number}u`);
  for (const [name, number] of Object.entries(SHIM_STATES))
    expect(header).toContain(`SHIM_${name} = ${number}`);
});

test('frames come out as they went in, however the stream is cut', () => {
  const sent = [
    encodeFrame(FRAMES.GO, 1),
    encodeFrame(FRAMES.SIGNAL, 2, Buffer.from([15, 0, 0, 0])),
    encodeFrame(FRAMES.STDIN, 65_535, Buffer.alloc(FRAME_PAYLOAD_MAX, 7)),
  ];
  const stream = Buffer.concat(sent);

  for (const size of [1, 3, 8, 9, 100, 4096, stream.length]) {
    const decoder = new FrameDecoder();
    const frames = [];
    for (let at = 0; at < stream.length; at += size)
      frames.push(...decoder.push(stream.subarray(at, at + size)));
    expect(frames.map(({ type, id, payload }) => encodeFrame(type, id, payload))).toEqual(sent);
  }
});

test('a frame that claims too much is an error, before it is waited for', () => {
  const bytes = Buffer.alloc(FRAME_HEADER);
  bytes.writeUInt32LE(0xffffffff, 0);

  expect(() => new FrameDecoder().push(bytes)).toThrow(RangeError);
  expect(() => encodeFrame(FRAMES.STDIN, 1, Buffer.alloc(FRAME_PAYLOAD_MAX + 1))).toThrow(RangeError);
});
