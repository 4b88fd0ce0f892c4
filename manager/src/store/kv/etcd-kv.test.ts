import { delay, systemClock } from '@tessera/shared/env';
import { afterAll, beforeAll, describe } from 'vitest';
import { startTestEtcd, type TestEtcd } from '../testing/test-etcd.js';
import { kvContract } from './contract.js';

let etcd: TestEtcd;
beforeAll(async () => {
  etcd = await startTestEtcd();
}, 90_000);
afterAll(() => etcd?.stop());

describe('etcd', () => {
  kvContract(() => ({ connect: () => etcd.connect(), pass: (timeMs) => delay(systemClock, timeMs) }));
});
