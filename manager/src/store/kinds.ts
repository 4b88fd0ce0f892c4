import {
  Cluster,
  Container,
  ContainerPlacement,
  ContainerState,
  Image,
  ImagePlacement,
  Journal,
  type Meta,
  Network,
  NetworkStatus,
  Node,
  NodeStatus,
  Service,
  ServiceStatus,
  Session,
  SpecVersion,
  Task,
  TaskStatus,
  Volume,
  VolumePlacement,
  VolumeState,
} from '@tessera/shared/model';
import type { Kind, Objects } from './view.js';

/** Everything the store keeps lies below this. */
export const ROOT = '/tessera/v1/';
const CLAIMS = `${ROOT}claims/`;

interface Codec<T> {
  encode(object: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}
interface KindOf<T> {
  readonly codec: Codec<T>;
  idOf(object: T): string;
}

/** How each kind becomes bytes, and which of its fields name it. A new kind is a line here and in view.ts. */
const KINDS: { readonly [K in Kind]: KindOf<Objects[K]> } = {
  cluster: { codec: Cluster, idOf: ({ id }) => id },
  nodes: { codec: Node, idOf: ({ id }) => id },
  nodeStatuses: { codec: NodeStatus, idOf: ({ nodeId }) => nodeId },
  services: { codec: Service, idOf: ({ id }) => id },
  serviceStatuses: { codec: ServiceStatus, idOf: ({ serviceId }) => serviceId },
  specs: { codec: SpecVersion, idOf: ({ serviceId, version }) => specId(serviceId, version) },
  tasks: { codec: Task, idOf: ({ id }) => id },
  taskStatuses: { codec: TaskStatus, idOf: ({ taskId }) => taskId },
  networks: { codec: Network, idOf: ({ id }) => id },
  networkStatuses: { codec: NetworkStatus, idOf: ({ networkId }) => networkId },
  images: { codec: Image, idOf: ({ id }) => id },
  imagePlacements: { codec: ImagePlacement, idOf: ({ imageId }) => imageId },
  containers: { codec: Container, idOf: ({ id }) => id },
  containerPlacements: { codec: ContainerPlacement, idOf: ({ containerId }) => containerId },
  containerStates: { codec: ContainerState, idOf: ({ containerId }) => containerId },
  volumes: { codec: Volume, idOf: ({ id }) => id },
  volumePlacements: { codec: VolumePlacement, idOf: ({ volumeId }) => volumeId },
  volumeStates: { codec: VolumeState, idOf: volumeStateId },
  sessions: { codec: Session, idOf: ({ nodeId }) => nodeId },
  journals: { codec: Journal, idOf: ({ managerId }) => managerId },
};
export const ALL_KINDS = Object.keys(KINDS) as readonly Kind[];

/** The id of a SpecVersion. */
export const specId = (serviceId: string, version: number): string => `${serviceId}/${version}`;

/** The id of a VolumeState. */
export function volumeStateId({
  nodeId,
  volumeId,
  name,
}: Pick<VolumeState, 'nodeId' | 'volumeId' | 'name'>): string {
  return `${nodeId}/${volumeId || '-'}/${name}`;
}

export const idOf = <K extends Kind>(kind: K, object: Objects[K]): string => KINDS[kind].idOf(object);

/** There is one cluster whatever its id, so two inits at once meet on one key. */
const CLUSTER_ID = 'self';

/** The id by which a kind's keys and entries are found. */
export const keyId = (kind: Kind, id: string): string => (kind === 'cluster' ? CLUSTER_ID : id);

export const objectKey = (kind: Kind, id: string): string => `${ROOT}${kind}/${keyId(kind, id)}`;

export const claimKey = (claim: string): string => CLAIMS + claim;

/** What a key of the store holds; undefined for the store's own (writers, leader) and for unknown kinds. */
export type KeyName =
  | { readonly what: 'object'; readonly kind: Kind; readonly id: string }
  | { readonly what: 'claim'; readonly claim: string };

export function parseKey(key: string): KeyName | undefined {
  if (key.startsWith(CLAIMS)) return { what: 'claim', claim: key.slice(CLAIMS.length) };
  const slash = key.indexOf('/', ROOT.length);
  const kind = key.slice(ROOT.length, slash);
  return Object.hasOwn(KINDS, kind)
    ? { what: 'object', kind: kind as Kind, id: key.slice(slash + 1) }
    : undefined;
}

/** Objects with a `meta` have their times and index kept by the store. */
type WithMeta = { readonly meta?: Meta | undefined };

/** @param modRevision becomes `meta.index`, so it is not stored: a key cannot know the revision that writes it */
export function decodeObject<K extends Kind>(kind: K, value: Uint8Array, modRevision: number): Objects[K] {
  const object = KINDS[kind].codec.decode(value);
  const { meta } = object as WithMeta;
  return meta ? { ...object, meta: { ...meta, index: modRevision } } : object;
}

const HAS_META = new Set<Kind>([
  'cluster',
  'nodes',
  'services',
  'tasks',
  'networks',
  'images',
  'containers',
  'volumes',
]);

/**
 * The bytes of an object as it is put over `current`, or undefined when they would change nothing but
 * the time of the update.
 */
export function encodeObject<K extends Kind>(
  kind: K,
  object: Objects[K],
  current: { readonly object: Objects[K]; readonly value: Uint8Array } | undefined,
  nowMs: number,
): Uint8Array | undefined {
  const encode = (meta: Meta | undefined) =>
    KINDS[kind].codec.encode(meta ? { ...object, meta } : object).finish();
  const { meta } = object as WithMeta;
  const old = (current?.object as WithMeta | undefined)?.meta;

  if (current) {
    const same = encode(HAS_META.has(kind) && old ? { ...meta, ...old, index: 0 } : undefined);
    if (Buffer.compare(same, current.value) === 0) return undefined;
  }
  if (!HAS_META.has(kind)) return encode(undefined);
  const createdAtMs = old?.createdAtMs ?? (meta?.createdAtMs || nowMs);
  return encode({ ...meta, createdAtMs, updatedAtMs: nowMs, index: 0 });
}
