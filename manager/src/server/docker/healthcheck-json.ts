import type { HealthcheckJson } from '@tessera/shared/docker-api';
import { invalid } from '@tessera/shared/errors';
import { Healthcheck } from '@tessera/shared/model';
import type { z } from 'zod';
import { duration, integer, msFromNs, nsFromMs, strictObject, texts } from './json-edge.js';

export const healthcheckBody = strictObject({
  Test: texts,
  Interval: duration,
  Timeout: duration,
  StartPeriod: duration,
  StartInterval: duration,
  Retries: integer,
});

const MS_IN_NS = 1_000_000;

/**
 * What it leaves out is the image's to say.
 *
 * @throws ClusterError `invalidArgument`, in dockerd's words
 * Source: moby daemon/container.go, validateHealthCheck
 */
export function healthcheckFromDocker(json: z.output<typeof healthcheckBody>): Healthcheck {
  for (const field of ['Interval', 'Timeout', 'StartPeriod', 'StartInterval'] as const) {
    const value = json[field] ?? 0;
    if (value !== 0 && value < MS_IN_NS) throw invalid(`${field} in Healthcheck cannot be less than 1ms`);
  }
  if ((json.Retries ?? 0) < 0) throw invalid('Retries in Healthcheck cannot be negative');
  return Healthcheck.fromPartial({
    test: json.Test ?? [],
    intervalMs: msFromNs(json.Interval ?? 0),
    timeoutMs: msFromNs(json.Timeout ?? 0),
    startPeriodMs: msFromNs(json.StartPeriod ?? 0),
    startIntervalMs: msFromNs(json.StartInterval ?? 0),
    retries: json.Retries ?? 0,
  });
}

/** Every field, also those that were not given. */
export const healthcheckToDocker = (check: Healthcheck): Required<HealthcheckJson> => ({
  Test: check.test,
  Interval: nsFromMs(check.intervalMs),
  Timeout: nsFromMs(check.timeoutMs),
  StartPeriod: nsFromMs(check.startPeriodMs),
  StartInterval: nsFromMs(check.startIntervalMs),
  Retries: check.retries,
});
