import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { Arrivals, heldBack } from './body-source.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('pieces come in the buffers they arrived in, cut where no more is wanted', async () => {
  const stream = new PassThrough();
  const source = new Arrivals(stream);
  const [one, two] = [Buffer.from('abcdef'), Buffer.from('gh')];
  stream.write(one);
  stream.write(two);
  stream.end();

  const first = await source.next(4);
  source.unread(first!.subarray(2));

  expect(first!.buffer).toBe(one.buffer);
  expect((await source.next())?.toString()).toBe('cd');
  expect((await source.next())?.toString()).toBe('ef');
  expect((await source.next())?.toString()).toBe('gh');
  expect(await source.next()).toBeUndefined();
});

test('whoever sends is slowed while nobody reads, and goes on when somebody does', async () => {
  const stream = new PassThrough({ highWaterMark: 1_000 });
  const source = new Arrivals(stream);
  let sent = 0;
  const sending = (async () => {
    for (; sent < 1_000; sent++)
      if (!stream.write(Buffer.alloc(1_000, sent)))
        await new Promise((resolve) => stream.once('drain', resolve));
    stream.end();
  })();
  for (let before = -1; before !== sent; await turn()) before = sent;

  expect(sent).toBeLessThan(20);
  let length = 0;
  for (let piece = await source.next(); piece; piece = await source.next()) length += piece.length;
  await sending;
  expect(length).toBe(1_000_000);
});

test('what nobody has read goes back to the stream', async () => {
  const stream = new PassThrough();
  const source = new Arrivals(stream);
  stream.write('body');
  stream.write(' and ');
  await turn();
  expect((await source.next(2))?.toString()).toBe('bo');

  source.leave();
  stream.end('more');

  const left: Buffer[] = [];
  for await (const piece of stream) left.push(piece as Buffer);
  expect(Buffer.concat(left).toString()).toBe('dy and more');
});

test('a stream that breaks has no more', async () => {
  const stream = new PassThrough();
  const source = new Arrivals(stream);
  const next = source.next();

  stream.destroy();

  expect(await next).toBeUndefined();
});

test('what is held back stays on the stream, whatever has come', async () => {
  const stream = new PassThrough();
  stream.write('body and more');
  const source = heldBack(stream);

  expect((await source.next(4))?.toString()).toBe('body');
  source.unread(Buffer.from('y'));

  expect(stream.read().toString()).toBe('y and more');
});
