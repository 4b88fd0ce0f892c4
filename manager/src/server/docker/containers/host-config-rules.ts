import { invalid } from '@tessera/shared/errors';
import { isCapability } from '../../../controlapi/container-validation.js';
import type { CreateBody, HostConfigBody } from './schema.js';

// Values that no host could keep, in dockerd's words. Source: moby daemon/container.go, verifyContainerSettings.

const OOM_SCORE_MAX = 1_000;

/** @throws ClusterError `invalidArgument` */
export function assertSettings({ HostConfig: host }: CreateBody): void {
  assertRestartPolicy(host?.RestartPolicy);
  for (const field of ['CapAdd', 'CapDrop'] as const) assertCapabilities(field, host?.[field] ?? []);
  if (Math.abs(host?.OomScoreAdj ?? 0) > OOM_SCORE_MAX)
    throw invalid(`Invalid value ${host?.OomScoreAdj}, range for oom score adj is [-1000, 1000]`);
  if ((host?.ShmSize ?? 0) < 0) throw invalid('SHM size can not be less than 0');
}

function assertCapabilities(field: string, names: readonly string[]): void {
  for (const name of names) {
    const word = name.toUpperCase().replace(/^CAP_/, '');
    if (!isCapability(word)) throw invalid(`invalid ${field}: unknown capability: "CAP_${word}"`);
  }
}

/** @throws ClusterError `invalidArgument` */
export function assertRestartPolicy(policy: HostConfigBody['RestartPolicy']): void {
  const [name, count] = [policy?.Name || 'no', policy?.MaximumRetryCount ?? 0];
  if (!['no', 'always', 'unless-stopped', 'on-failure'].includes(name))
    throw invalid(
      `invalid restart policy: unknown policy '${name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
    );
  if (count !== 0 && name !== 'on-failure')
    throw invalid(`invalid restart policy: maximum retry count can only be used with 'on-failure'`);
  if (count < 0) throw invalid('invalid restart policy: maximum retry count cannot be negative');
}
