import { ClusterError, invalid } from '@tessera/shared/errors';
import { z } from 'zod';

// What all converters between Docker's JSON and the model share.

const NANOSECONDS_PER_MS = 1_000_000;

/** Docker's durations are whole nanoseconds, ours whole milliseconds; a part of one counts as one. */
export const msFromNs = (ns: number): number => Math.ceil(ns / NANOSECONDS_PER_MS);
export const nsFromMs = (ms: number): number => ms * NANOSECONDS_PER_MS;

/** RFC 3339, as Docker writes times. Zero is Go's zero time. */
export const timeJson = (ms: number): string =>
  ms > 0 ? new Date(ms).toISOString() : '0001-01-01T00:00:00Z';

/** What Docker's clients send for "not given": Go's zero values, and JSON's null. */
export function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === 0 || value === false) return true;
  if (Array.isArray(value)) return value.length === 0;
  return typeof value === 'object' && Object.values(value).every(isEmpty);
}

/** The object without its empty fields, which Docker's JSON leaves out. */
export function omitEmpty<T extends object>(object: { readonly [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => !isEmpty(value))) as T;
}

/** What is refused of an object, for whoever describes it. */
const REFUSED = new WeakMap<object, Readonly<Record<string, string>>>();

/** A field that a request may have: honoured, or refused with these words. */
export interface FieldFact {
  /** `HostConfig.Mounts[].Type`. */
  readonly path: string;
  readonly refusal?: string;
}

/** Every field of a schema made of `strictObject`s. */
export function fieldsOf(schema: z.ZodType, path = ''): FieldFact[] {
  const { def } = schema as z.ZodType & { def: SchemaDef };
  if (def.type === 'array') return fieldsOf(def.element!, `${path}[]`);
  if (def.innerType) return fieldsOf(def.innerType, path);
  if (def.type !== 'object') return [];
  const before = path === '' ? '' : `${path}.`;
  const honoured = Object.entries(def.shape!).flatMap(([name, type]) => [
    { path: `${before}${name}` },
    ...fieldsOf(type, `${before}${name}`),
  ]);
  const refused = Object.entries(REFUSED.get(schema) ?? {});
  return [...honoured, ...refused.map(([name, refusal]) => ({ path: `${before}${name}`, refusal }))];
}

interface SchemaDef {
  readonly type: string;
  readonly element?: z.ZodType;
  readonly innerType?: z.ZodType;
  readonly valueType?: z.ZodType;
  readonly shape?: Readonly<Record<string, z.ZodType>>;
}

/**
 * A value whose fields are spelled as the schema has them, whatever their case: dockerd takes them so, and there are
 * clients that rely on it. Source: Go's encoding/json, Unmarshal
 */
function asSpelled(schema: z.ZodType, value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const { def } = schema as z.ZodType & { def: SchemaDef };
  if (def.innerType) return asSpelled(def.innerType, value);
  if (Array.isArray(value)) return def.element ? value.map((each) => asSpelled(def.element!, each)) : value;
  if (def.valueType) return mapFields(value, (name, field) => [name, asSpelled(def.valueType!, field)]);
  if (!def.shape) return value;
  const { shape } = def;
  const names = [...Object.keys(shape), ...Object.keys(REFUSED.get(schema) ?? {})];
  const spelling = new Map(names.map((name) => [name.toLowerCase(), name]));
  return mapFields(value, (written, field) => {
    const name = names.includes(written) ? written : (spelling.get(written.toLowerCase()) ?? written);
    return [name, Object.hasOwn(shape, name) ? asSpelled(shape[name]!, field) : field];
  });
}

const mapFields = (value: object, map: (name: string, field: unknown) => [string, unknown]): object =>
  Object.fromEntries(Object.entries(value).map(([name, field]) => map(name, field)));

/**
 * An object whose every field is honoured or, unless it is empty, refused by name.
 *
 * @param refused what to say of fields that Docker has and Tessera has not
 */
export const strictObject = <S extends z.ZodRawShape>(
  shape: S,
  refused: Readonly<Record<string, string>> = {},
) => {
  const schema = z.looseObject(shape).superRefine((value, context) => {
    for (const [key, content] of Object.entries(value)) {
      if (Object.hasOwn(shape, key) || isEmpty(content)) continue;
      context.addIssue({
        code: 'custom',
        path: [key],
        message:
          (Object.hasOwn(refused, key) && refused[key]) || 'is not a field Tessera knows; leave it out',
      });
    }
  });
  REFUSED.set(schema, refused);
  return schema;
};

export const text = z.string().nullish();
export const flag = z.boolean().nullish();
export const count = z.int().min(0).nullish();
export const integer = z.int().nullish();
/** Nanoseconds. */
export const duration = z.int().min(0).nullish();
export const texts = z.array(z.string()).nullish();
export const textMap = z.record(z.string(), z.string()).nullish();
export const oneOf = <const T extends readonly [string, ...string[]]>(...values: T) =>
  z.enum(['', ...values], `give ${values.slice(0, -1).join(', ')} or ${values.at(-1)}`).nullish();

/** @throws ClusterError `invalidArgument` that names every field at fault and says how to mend it */
export function parseBody<S extends z.ZodType>(what: string, schema: S, body: unknown): z.output<S> {
  const result = schema.safeParse(asSpelled(schema, body ?? {}));
  if (result.success) return result.data;

  const faults = result.error.issues.map(({ path, message }) => {
    const field = path.map(String).join('.');
    return field === '' ? message : `${field}: ${message}`;
  });
  throw invalid(`invalid ${what}: ${[...new Set(faults)].slice(0, 5).join('; ')}`);
}

/** Keys in one order, so that equal maps encode to equal bytes. */
export const sortedMap = (map: Readonly<Record<string, string>> | null | undefined): Record<string, string> =>
  Object.fromEntries(Object.entries(map ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)));

/** The index a client read before it writes. @throws ClusterError `invalidArgument` */
export function parseVersion(value: string | null): number {
  const version = Number(value);
  if (!value || !Number.isSafeInteger(version)) {
    throw new ClusterError(
      'invalidArgument',
      `invalid version '${value ?? ''}': give the object's Version.Index as it was read`,
    );
  }
  return version;
}

/** Go's notion of a true query parameter. */
export const isTrue = (value: string | null): boolean =>
  value !== null && !['', '0', 'no', 'false', 'none'].includes(value.toLowerCase());
