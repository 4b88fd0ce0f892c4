import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { FakeClock } from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import { DnsForwarder } from './forwarder.js';

/** For the address of `a`, with id 0x1234. */
const query = Buffer.from('12340100000100000000000001610000010001', 'hex');
const answerTo = (question: Buffer): Buffer => {
  const answer = Buffer.from(question);
  answer[2]! |= 0x80;
  return answer;
};

async function listening(onQuestion: (socket: Socket, question: Buffer, port: number) => void) {
  const socket = createSocket('udp4');
  socket.on('message', (question, from) => onQuestion(socket, question, from.port));
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return { socket, upstream: { host: '127.0.0.1', port: socket.address().port } };
}

test('a server that nobody listens at is passed over at once, for the next one', async () => {
  const gone = await listening(() => {});
  gone.socket.close();
  const there = await listening((socket, question, port) =>
    socket.send(answerTo(question), port, '127.0.0.1'),
  );
  // Its time stands still: only the refusal can end the wait for the first one.
  const forwarder = new DnsForwarder(new FakeClock());

  expect(await forwarder.ask(query, 'udp', [gone.upstream, there.upstream])).toEqual(answerTo(query));
  expect(await forwarder.ask(query, 'udp', [gone.upstream])).toBeUndefined();
  there.socket.close();
});

test('an answer from elsewhere is none', async () => {
  const forger = createSocket('udp4');
  const there = await listening((socket, question, port) => {
    const forged = answerTo(question);
    forged[3] = 3;
    forger.send(forged, port, '127.0.0.1', () => socket.send(answerTo(question), port, '127.0.0.1'));
  });

  expect(await new DnsForwarder(new FakeClock()).ask(query, 'udp', [there.upstream])).toEqual(
    answerTo(query),
  );
  forger.close();
  there.socket.close();
});
