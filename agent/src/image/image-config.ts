import { isDigest } from '@tessera/shared/digest';
import { ClusterError } from '@tessera/shared/errors';
import { z } from 'zod';
import type { ImageConfig } from './image-store.js';

// Both lie in the store as part of the Image object, and etcd takes 1.5 MiB a request.
export const MANIFEST_BYTES_MAX = 512 * 1024;
export const CONFIG_BYTES_MAX = 512 * 1024;
/** Docker's own bound; overlay options hold no more by short names. */
export const LAYERS_MAX = 127;

const strings = z
  .array(z.string())
  .nullish()
  .transform((value) => value ?? []);
const text = z
  .string()
  .nullish()
  .transform((value) => value ?? '');

/** Also how often a probe may fail. */
const amount = z
  .number()
  .min(0)
  .nullish()
  .transform((value) => value ?? 0);

const imageConfigSchema = z.object({
  architecture: text,
  os: text,
  created: text,
  rootfs: z.object({
    type: z.literal('layers'),
    diff_ids: z
      .array(z.string().refine(isDigest, 'must be sha256: and 64 digits'))
      .max(LAYERS_MAX, `has more than ${LAYERS_MAX} layers`)
      .nullish()
      .transform((value) => value ?? []),
  }),
  config: z
    .object({
      Entrypoint: strings,
      Cmd: strings,
      Env: strings,
      WorkingDir: text,
      User: text,
      StopSignal: text,
      Labels: z.record(z.string(), z.string()).nullish(),
      Volumes: z.record(z.string(), z.unknown()).nullish(),
      ExposedPorts: z.record(z.string(), z.unknown()).nullish(),
      // Docker's alone; whatever else is in that place is none.
      Healthcheck: z
        .object({
          Test: strings,
          Interval: amount,
          Timeout: amount,
          StartPeriod: amount,
          StartInterval: amount,
          Retries: amount,
        })
        .nullish()
        .catch(undefined),
    })
    .nullish(),
});

/** An image configuration, read. */
export interface ParsedConfig {
  readonly architecture: string;
  readonly os: string;
  readonly diffIds: readonly string[];
  readonly run: ImageConfig;
}

/**
 * Source: OCI image specification, config.md; Docker's differs only in fields that are not read here.
 * @throws ClusterError `invalidArgument`
 */
export function parseConfig(bytes: Uint8Array): ParsedConfig {
  const parsed = parseJson('image configuration', bytes, imageConfigSchema);
  const { config } = parsed;
  return {
    architecture: parsed.architecture,
    os: parsed.os,
    diffIds: parsed.rootfs.diff_ids,
    run: {
      entrypoint: config?.Entrypoint ?? [],
      cmd: config?.Cmd ?? [],
      env: config?.Env ?? [],
      workingDir: config?.WorkingDir ?? '',
      user: config?.User ?? '',
      stopSignal: config?.StopSignal ?? '',
      labels: config?.Labels ?? {},
      volumes: Object.keys(config?.Volumes ?? {}),
      exposedPorts: Object.keys(config?.ExposedPorts ?? {}),
      ...(config?.Healthcheck ? { healthcheck: config.Healthcheck } : {}),
    },
  };
}

/** @throws ClusterError `invalidArgument` that begins with `what` and names the field */
export function parseJson<T>(what: string, bytes: Uint8Array, schema: z.ZodType<T>): T {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new ClusterError('invalidArgument', `${what} is not JSON`, { cause: error });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const field = issue?.path.join('.') || 'its value';
  throw new ClusterError('invalidArgument', `${what}: ${field}: ${issue?.message ?? 'is not valid'}`);
}
