// npm run bench -- store: writes through the store beside the same writes given to etcd itself, on one etcd of
// this machine with its default fsync, and how long the cluster is without a leader.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Metric, median, printReport } from '@tessera/shared/bench';
import { delay, silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { Task } from '@tessera/shared/model';
import { EtcdSupervisor } from '../etcd/index.js';
import { type ClusterStore, createStore, Election, type Leadership } from '../store/index.js';
import { EtcdKv } from '../store/kv/etcd-kv.js';

const env = { clock: systemClock, random: systemRandom, logger: silentLogger };
const SLICE_MS = 1_000;
const ROUNDS = 5;
const VALUE_BYTES = 256;
const HANDOVERS = 20;
const CRASH_LEASE_MS = 5_000;

type Call = (client: number) => Promise<unknown>;
interface Rate {
  readonly perSecond: number;
  readonly medianMs: number;
}

/**
 * Calls per second that `clients` make, each one after another, and the median time of one; ours and the peer's in
 * turns, so that whatever else the machine does meets both.
 */
async function compare(clients: number, ours: Call, peer: Call): Promise<{ ours: Rate; peer: Rate }> {
  const slices: Record<'ours' | 'peer', number[][]> = { ours: [], peer: [] };
  for (let round = 0; round < ROUNDS; round++) {
    slices.peer.push(await slice(clients, peer));
    slices.ours.push(await slice(clients, ours));
  }
  return { ours: rateOf(slices.ours), peer: rateOf(slices.peer) };
}

/** How long each call took in one slice of time. */
async function slice(clients: number, call: Call): Promise<number[]> {
  const times: number[] = [];
  const startMs = systemClock.monotonic();
  const work = async (client: number) => {
    for (let nowMs = startMs; nowMs - startMs < SLICE_MS; ) {
      await call(client);
      const doneMs = systemClock.monotonic();
      times.push(doneMs - nowMs);
      nowMs = doneMs;
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, client) => work(client)));
  return times;
}

function rateOf(slices: readonly number[][]): Rate {
  const times = slices.flat();
  return { perSecond: (times.length * 1_000) / (slices.length * SLICE_MS), medianMs: median(times) };
}

async function writes(kv: EtcdKv, store: ClusterStore): Promise<Metric[]> {
  const value = Buffer.alloc(VALUE_BYTES, 'x');
  const filler = 'x'.repeat(VALUE_BYTES - 40);
  let count = 0;
  const metrics: Metric[] = [];
  for (const clients of [1, 128]) {
    const { ours, peer } = await compare(
      clients,
      (client) =>
        store.update((tx) => {
          const epoch = { number: ++count, incarnation: 1 };
          tx.put('tasks', Task.fromPartial({ id: `t${client}`, serviceName: filler, epoch }));
        }),
      (client) =>
        kv.txn({ compares: [], success: [{ kind: 'put', key: `/raw/${client}`, value }], failure: [] }),
    );
    const peerName = 'etcd alone';
    metrics.push(
      {
        name: `updates, ${clients} at once`,
        unit: '1/s',
        ours: ours.perSecond,
        peer: peer.perSecond,
        peerName,
      },
      { name: `median, ${clients} at once`, unit: 'ms', ours: ours.medianMs, peer: peer.medianMs, peerName },
    );
  }
  return metrics;
}

async function reads(kv: EtcdKv, store: ClusterStore): Promise<Metric[]> {
  const metrics: Metric[] = [];
  for (const clients of [1, 128]) {
    const { ours, peer } = await compare(
      clients,
      () => store.read(),
      (client) => kv.range({ key: `/raw/${client}` }),
    );
    metrics.push({
      name: `fresh reads, ${clients} at once`,
      unit: '1/s',
      ours: ours.perSecond,
      peer: peer.perSecond,
      peerName: 'etcd alone',
    });
  }
  return metrics;
}

/** From a leader's end to the next one's beginning: it resigned, or it fell silent. */
async function handOver(kvs: readonly [EtcdKv, EtcdKv], crashes: boolean, rounds: number): Promise<number> {
  const elections = kvs.map(
    (kv, index) => new Election(kv, { ...env, managerId: `m${index}`, leaseTtlMs: CRASH_LEASE_MS }),
  );
  const signal = new AbortController().signal;
  const times: number[] = [];
  let leader: Leadership = await elections[0]!.campaign(signal);
  for (let round = 1; round <= rounds; round++) {
    const next = elections[round % 2]!.campaign(signal);
    await delay(systemClock, 50);
    const startMs = systemClock.monotonic();
    if (crashes) kvs[0].close();
    else await leader.resign();
    leader = await next;
    times.push(systemClock.monotonic() - startMs);
  }
  await leader.resign();
  return median(times);
}

async function main(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'tessera-bench-store-'));
  const paths = { dataDir: join(directory, 'data'), runDir: join(directory, 'run') };
  const supervisor = new EtcdSupervisor({ ...env, ...paths, name: 'bench' });
  const connect = () => new EtcdKv(env, { endpoints: [supervisor.endpoint] });
  try {
    await supervisor.start();
    const [kv, other, crashing] = [connect(), connect(), connect()];
    const store = await createStore(connect(), { ...env, managerId: 'bench' });
    const metrics = [
      ...(await writes(kv, store)),
      ...(await reads(kv, store)),
      { name: 'hand-over, leader resigns', unit: 'ms', ours: await handOver([kv, other], false, HANDOVERS) },
      { name: 'hand-over, leader vanishes', unit: 'ms', ours: await handOver([crashing, other], true, 1) },
    ];
    store.close();
    for (const client of [kv, other, store.kv]) client.close();
    printReport('store', metrics, {
      json: process.argv.includes('--json'),
      notes: [`Values of ${VALUE_BYTES} bytes; a leader that vanishes had a lease of ${CRASH_LEASE_MS} ms.`],
    });
  } finally {
    await supervisor.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

await main();
