import { expect, test } from 'vitest';
import { parseClusterSpec } from './cluster-spec.js';

const DEFAULTS = { taskHistoryLimit: undefined, heartbeatPeriodMs: undefined };

test.each([
  ['nothing', undefined],
  ['an empty one', {}],
  [
    "what docker's client sends when nothing was asked for",
    {
      Labels: null,
      Orchestration: {},
      Raft: { ElectionTick: 0, HeartbeatTick: 0 },
      Dispatcher: {},
      CAConfig: {},
      TaskDefaults: {},
      EncryptionConfig: { AutoLockManagers: false },
    },
  ],
  ['the name that is shown', { Name: 'default' }],
])('%s leaves the defaults', (_, spec) => {
  expect(parseClusterSpec(spec)).toEqual(DEFAULTS);
});

test('the history limit and the heartbeat are honoured, zero tasks of history too', () => {
  expect(parseClusterSpec({ Orchestration: { TaskHistoryRetentionLimit: 0 } }).taskHistoryLimit).toBe(0);
  expect(
    parseClusterSpec({
      Orchestration: { TaskHistoryRetentionLimit: 9 },
      Dispatcher: { HeartbeatPeriod: 2_500_000_000 },
    }),
  ).toEqual({ taskHistoryLimit: 9, heartbeatPeriodMs: 2_500 });
});

test.each([
  [{ CAConfig: { NodeCertExpiry: 3600e9 } }, 'Spec.CAConfig.NodeCertExpiry: cannot be set'],
  [{ CAConfig: { ExternalCAs: [{ Protocol: 'cfssl', URL: 'https://ca' }] } }, 'Spec.CAConfig.ExternalCAs'],
  [{ Raft: { SnapshotInterval: 5 } }, 'Spec.Raft.SnapshotInterval'],
  [{ Labels: { a: 'b' } }, 'Spec.Labels.a'],
  [{ TaskDefaults: { LogDriver: { Name: 'syslog' } } }, 'Spec.TaskDefaults.LogDriver.Name'],
  [{ Nonsense: true }, 'Spec.Nonsense'],
  [
    { EncryptionConfig: { AutoLockManagers: true } },
    'AutoLockManagers: locking managers is not supported yet',
  ],
  [
    { Orchestration: { TaskHistoryRetentionLimit: 'x' } },
    'Spec.Orchestration.TaskHistoryRetentionLimit: must',
  ],
  [{ Dispatcher: { HeartbeatPeriod: -1 } }, 'Spec.Dispatcher.HeartbeatPeriod: must be'],
  [{ Dispatcher: { HeartbeatPeriod: 1e6 } }, 'HeartbeatPeriod: 1 ms is not from 100 ms to 60 s'],
  ['text', 'Spec: must be an object'],
])('%j is refused by name', (spec, message) => {
  expect(() => parseClusterSpec(spec)).toThrow(message);
});
