import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LabCluster } from '../lab/cluster.js';
import { Lab } from '../lab/lab.js';
import { ROOT } from '../lab/paths.js';

let lab: Lab;
let cluster: LabCluster;

beforeAll(async () => {
  lab = await Lab.up({ name: `id${process.pid}`, hosts: 2 });
  await lab.formCluster();
  cluster = new LabCluster(lab);
  await cluster.waitReady();
});
afterAll(() => lab?.down());

/** curl on host2 with that host's own node certificate, towards the manager's API over TLS. */
const curlAsWorker = (path: string) => {
  const worker = lab.host('host2');
  const file = (name: string) => `${worker.dataDir}/node/${name}.pem`;
  return worker.exec([
    'curl',
    '-sS',
    '-m',
    '10',
    '-o',
    '/dev/stdout',
    '-w',
    '\n%{http_code}',
    '--cacert',
    file('ca'),
    '--cert',
    file('cert'),
    '--key',
    file('key'),
    `https://${cluster.manager.address}:2376${path}`,
  ]);
};

test.each(['/_ping', '/info', '/services', '/nodes', '/swarm', '/tessera/v1/cluster'])(
  'a worker’s certificate is refused by the API at %s',
  async (path) => {
    const { stdout } = await curlAsWorker(path);

    expect(stdout.trim().split('\n').at(-1)).toBe('403');
  },
);

test('nothing of etcd is reachable from another host', async () => {
  const listening = await cluster.manager.must([
    'sh',
    '-c',
    "ss -Hltn | awk '{print $4}' | sed 's/.*://' | sort -un",
  ]);
  const pid = (await cluster.manager.must(['pgrep', '-x', 'etcd'])).trim();

  expect(
    listening
      .trim()
      .split('\n')
      .filter((port) => !['2376', '2377', '7947'].includes(port)),
  ).toEqual([]);
  expect(await cluster.manager.must(['stat', '-c', '%a', `/proc/${pid}/cwd/`])).toBe('700\n');
});

test('a worker’s certificate is refused by manager-only calls, and for another node’s name', async () => {
  const worker = lab.host('host2');
  const script = `${ROOT}e2e/dist/lab/call-as-node.js`;

  const { stdout } = await worker.exec([
    process.execPath,
    script,
    `${worker.dataDir}/node`,
    `${cluster.manager.address}:2377`,
    await cluster.nodeId(cluster.manager),
  ]);

  expect(JSON.parse(stdout)).toEqual({ requestStream: 'permissionDenied', foreignImage: 'permissionDenied' });
});

test('the node’s key is readable by root alone', async () => {
  for (const host of lab.hosts) {
    expect(await host.must(['stat', '-c', '%a %U', `${host.dataDir}/node/key.pem`])).toBe('600 root\n');
    expect(readFileSync(`${host.dataDir}/node/cert.pem`, 'utf8')).toContain('BEGIN CERTIFICATE');
  }
});

test('a wrong join token is refused with a reason', async () => {
  const { code, stderr } = await lab
    .host('host2')
    .exec([
      process.execPath,
      `${ROOT}cli/dist/main.js`,
      'cluster',
      'join',
      '--token',
      'TSWT-1-nonsense',
      `${cluster.manager.address}:2377`,
    ]);

  expect(code).toBe(1);
  expect(stderr).toMatch(/already part of a|token/i);
});
