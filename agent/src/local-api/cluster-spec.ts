import { ClusterError, invalid } from '@tessera/shared/errors';

/** What can be set of a cluster that is being made; undefined: the default. */
export interface NewClusterSpec {
  readonly taskHistoryLimit: number | undefined;
  readonly heartbeatPeriodMs: number | undefined;
}

/** Docker's name of the only cluster there is, in what `GET /swarm` shows. */
const NAME = 'default';
const NS_PER_MS = 1e6;
const PERIOD_MS_MIN = 100;
const PERIOD_MS_MAX = 60_000;

/**
 * Reads `Spec` of `POST /swarm/init`. Docker's clients send the whole of it, with empty fields for what was not given;
 * whatever else is in it and cannot be honoured is refused by its name.
 *
 * @throws ClusterError `invalidArgument`, `unimplemented` for locked managers
 * Source: moby api/swagger.yaml v1.50, SwarmSpec
 */
export function parseClusterSpec(spec: unknown): NewClusterSpec {
  const given = new Map(leaves(spec, ''));
  const take = (path: string): unknown => {
    const value = given.get(path);
    given.delete(path);
    return value;
  };
  const limit = take('Orchestration.TaskHistoryRetentionLimit');
  const period = take('Dispatcher.HeartbeatPeriod');
  if (given.get('Name') === NAME) given.delete('Name');
  if (take('EncryptionConfig.AutoLockManagers') === true) throw lockingUnsupported();
  for (const [path, value] of given) {
    if (isEmpty(value)) continue;
    throw invalid(`Spec.${path}: cannot be set when a cluster is made; leave it out`);
  }
  return {
    taskHistoryLimit: wholeNumber('Spec.Orchestration.TaskHistoryRetentionLimit', limit),
    heartbeatPeriodMs: periodMs(wholeNumber('Spec.Dispatcher.HeartbeatPeriod', period)),
  };
}

export const lockingUnsupported = (): ClusterError =>
  new ClusterError(
    'unimplemented',
    'AutoLockManagers: locking managers is not supported yet; leave --autolock out',
  );

/** The values of an object by their paths, lists as they are. */
function* leaves(value: unknown, path: string): Generator<[path: string, value: unknown]> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    if (path !== '') yield [path, value];
    else if (!isEmpty(value)) throw invalid('Spec: must be an object');
    return;
  }
  for (const [key, content] of Object.entries(value)) {
    yield* leaves(content, path === '' ? key : `${path}.${key}`);
  }
}

/** Go's zero values, and JSON's null. */
const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === '' ||
  value === 0 ||
  value === false ||
  (Array.isArray(value) && value.length === 0);

function wholeNumber(name: string, value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw invalid(`${name}: must be a whole number, not negative`);
}

/** Zero is what Docker's clients send for "not given". */
function periodMs(ns: number | undefined): number | undefined {
  if (!ns) return undefined;
  const ms = Math.ceil(ns / NS_PER_MS);
  if (ms < PERIOD_MS_MIN || ms > PERIOD_MS_MAX) {
    throw invalid(
      `Spec.Dispatcher.HeartbeatPeriod: ${ms} ms is not from ${PERIOD_MS_MIN} ms to ${PERIOD_MS_MAX / 1000} s`,
    );
  }
  return ms;
}
