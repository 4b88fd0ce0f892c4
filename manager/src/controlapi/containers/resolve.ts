import { ClusterError, errorText, invalid, notFound } from '@tessera/shared/errors';
import { effectiveHealthcheck, type ImageHealthcheck } from '@tessera/shared/healthcheck';
import { type Container, HostConfig, type Image, Placement, PortBinding } from '@tessera/shared/model';
import { parsePlatform, platformFit, platformOfConfig, platformText } from '@tessera/shared/platform';
import type { Transaction, View } from '../../store/view.js';
import { assertApiSocket } from '../api-socket.js';
import { validateContainer, validateLogDriver } from '../container-validation.js';
import { familiarName, normalizeName } from '../image-reference.js';
import { findImage, getNetwork } from '../lookup.js';
import { getContainer, known, nodeIdOf } from './lookup.js';
import { type MountOwner, resolveMounts } from './resolve-mounts.js';

// What a new container names, found in the cluster. Runs in the transaction that makes it.

/** What the fields of a ContainerSpec are called in the request that makes a container. */
const FIELDS: readonly (readonly [string, string])[] = [
  ['ContainerSpec.Dir', 'WorkingDir'],
  ['ContainerSpec.Hosts', 'HostConfig.ExtraHosts'],
  ['ContainerSpec.Ulimits', 'HostConfig.Ulimits'],
  ['ContainerSpec.Sysctls', 'HostConfig.Sysctls'],
  ['ContainerSpec.CapabilityAdd', 'HostConfig.CapAdd'],
  ['ContainerSpec.OomScoreAdj', 'HostConfig.OomScoreAdj'],
  ['ContainerSpec.Mounts', 'HostConfig.Mounts'],
  ['DNSConfig.Nameservers', 'HostConfig.Dns'],
  ['DNSConfig', 'HostConfig.Dns'],
  ['LogDriver.Name', 'HostConfig.LogConfig.Type'],
  ['LogDriver.Options', 'HostConfig.LogConfig.Config'],
  ['ContainerSpec.', ''],
];

/**
 * The container with its image by digest, its networks by id, and other containers it joins by id, on their node.
 *
 * @throws ClusterError `notFound` for what there is not: `No such image: busybox:latest` to the letter, which clients
 *   take as the word to pull; `invalidArgument` for what cannot be honoured
 */
export function resolveContainer(
  tx: Transaction,
  wanted: Container,
  platform: string,
  owner: Omit<MountOwner, 'volumes'>,
): Container {
  const withImage = resolveImage(tx, wanted, platform);
  assertCpus(tx, wanted);
  const volumes = Object.keys(imageFacts(tx, withImage).config?.Volumes ?? {});
  const resolved = wordedAsInvalid(() => {
    const withMounts = resolveMounts(tx, withImage, { ...owner, volumes });
    return resolveNetworks(tx, resolveJoined(tx, withMounts));
  });
  validate(resolved);
  assertApiSocket(tx, resolved.spec);
  return resolved;
}

/** Of whatever else is missing, 404 would send the client off to pull the image that there is. */
function wordedAsInvalid<T>(resolve: () => T): T {
  try {
    return resolve();
  } catch (error) {
    if (error instanceof ClusterError && error.kind === 'notFound') throw invalid(error.message);
    throw error;
  }
}

/** As dockerd refuses more processors than its host has: here, than any node. */
function assertCpus(view: View, { host }: Container): void {
  const nanoCpus = host?.resources?.nanoCpus ?? 0;
  const capacities = [...view.nodeStatuses.all()].map(
    ({ description }) => (description?.capacity?.nanoCpus ?? 0) / 1e9,
  );
  const most = Math.ceil(Math.max(0, ...capacities));
  if (most > 0 && nanoCpus > most * 1e9)
    throw invalid(`Range of CPUs is from 0.01 to ${most}.00, as there are only ${most} CPUs available`);
}

function resolveImage(tx: Transaction, container: Container, platform: string): Container {
  const spec = container.spec!;
  const reference =
    spec.imageDigest || isId(spec.image) ? spec.image : familiarName(normalizeName(spec.image));
  const image = spec.imageDigest ? tx.images.get(spec.imageDigest) : findImage(tx, spec.image);
  if (!image) throw new ClusterError('notFound', `No such image: ${reference}`);
  assertPlatform(image, spec.image, platform);
  tx.require('images', image.id);
  const { config } = configOf(image);
  const exposed = Object.keys(config?.ExposedPorts ?? {});
  const ports = container.host?.publishAllPorts ? randomPorts(container, exposed) : [];
  return {
    ...container,
    spec: {
      ...spec,
      imageDigest: image.id,
      labels: { ...config?.Labels, ...spec.labels },
      healthcheck: effectiveHealthcheck(spec.healthcheck, config?.Healthcheck),
    },
    exposedPorts: [...new Set([...exposed, ...container.exposedPorts])].sort(),
    host: {
      ...HostConfig.fromPartial({}),
      ...container.host,
      ports: [...(container.host?.ports ?? []), ...ports],
    },
  };
}

/** Clients name images by a beginning of their id as well. */
const isId = (image: string): boolean => /^(sha256:)?[0-9a-f]{4,64}$/.test(image);

interface ImageFacts {
  readonly config?: {
    readonly ExposedPorts?: Readonly<Record<string, unknown>> | null;
    readonly Volumes?: Readonly<Record<string, unknown>> | null;
    readonly Healthcheck?: ImageHealthcheck | null;
    readonly Labels?: Readonly<Record<string, string>> | null;
  };
}

function configOf(image: Image): ImageFacts {
  try {
    return JSON.parse(Buffer.from(image.config).toString('utf8')) as ImageFacts;
  } catch {
    return {};
  }
}

function imageFacts(view: View, { spec }: Container): ImageFacts {
  const image = view.images.get(spec!.imageDigest);
  return image ? configOf(image) : {};
}

function assertPlatform(image: Image, reference: string, platform: string): void {
  if (platform === '') return;
  const wanted = parsePlatform(platform);
  const offered = platformOfConfig(image.config);
  if (!offered || platformFit(wanted, offered) > 0) return;
  throw new ClusterError(
    'notFound',
    `image with reference ${reference} was found but does not match the specified platform: wanted ${platformText(wanted)}, actual: ${platformText(offered)}`,
  );
}

/** A port of the node's choice for everything exposed that is not published yet. */
function randomPorts(container: Container, byImage: readonly string[]): PortBinding[] {
  const published = new Set(
    container.host?.ports.map(({ containerPort, protocol }) => `${containerPort}/${protocol}`),
  );
  return [...new Set([...container.exposedPorts, ...byImage])].flatMap((text) => {
    const [, port = '', protocol = 'tcp'] = /^(\d+)(?:\/(\w+))?$/.exec(text) ?? [];
    if (port === '' || published.has(`${port}/${protocol}`)) return [];
    return [PortBinding.fromPartial({ protocol, containerPort: Number(port) })];
  });
}

/** `container:NAME` in any of the modes: that container by its id, beside which this one is placed. */
function resolveJoined(view: View, container: Container): Container {
  const host = { ...HostConfig.fromPartial({}), ...container.host };
  const others: string[] = [];
  const join = (mode: string): string => {
    if (!mode.startsWith('container:')) return mode;
    const { id } = getContainer(view, mode.slice('container:'.length));
    others.push(id);
    return `container:${id}`;
  };
  const joined = {
    ...host,
    networkMode: join(host.networkMode),
    pidMode: join(host.pidMode),
    ipcMode: join(host.ipcMode),
  };
  return beside(view, { ...container, host: joined }, others);
}

/**
 * A container that can only be where these others are, by id: it uses their namespaces or volumes, or is linked to them.
 *
 * @throws ClusterError `invalidArgument` where they are on different nodes, `unavailable` where one is on none
 */
export function beside(view: View, container: Container, others: readonly string[]): Container {
  const placement = Placement.fromPartial(container.placement ?? {});
  const coLocatedWith = [...new Set([...placement.coLocatedWith, ...others])];
  const nodeIds = new Set(coLocatedWith.map((id) => nodeIdOf(known(view, getContainer(view, id)))));
  if (nodeIds.size > 1)
    throw invalid('HostConfig: the containers that this one joins are on different nodes');
  return { ...container, placement: { ...placement, coLocatedWith } };
}

function resolveNetworks(tx: Transaction, container: Container): Container {
  const found = new Set<string>();
  const networks = container.networks.map((attachment) => {
    const name = attachment.networkId;
    const network = findNetwork(tx, name);
    if (found.has(network.id))
      throw invalid(`NetworkingConfig.EndpointsConfig: network ${name} is named twice`);
    found.add(network.id);
    if (network.spec?.driver !== 'overlay')
      throw invalid(`network ${name} cannot be used with containers yet. Only overlay networks can`);
    if (!network.spec.attachable)
      throw new ClusterError(
        'permissionDenied',
        `Could not attach to network ${name}: it is not manually attachable; create it with --attachable`,
      );
    tx.require('networks', network.id);
    return { ...attachment, networkId: network.id };
  });
  const mode = container.host?.networkMode ?? '';
  const named = container.networks.findIndex(({ networkId }) => networkId === mode);
  if (named < 0) return { ...container, networks };
  return { ...container, networks, host: { ...container.host!, networkMode: networks[named]!.networkId } };
}

function findNetwork(view: View, name: string) {
  try {
    return getNetwork(view, name);
  } catch (error) {
    if (error instanceof ClusterError && error.kind === 'notFound') throw notFound('network', name);
    throw error;
  }
}

/** @throws ClusterError `invalidArgument` that names the field as the request has it */
function validate(container: Container): void {
  try {
    validateContainer(container.spec!);
    validateLogDriver(container.host?.logDriver);
  } catch (error) {
    const text = errorText(error);
    const field = FIELDS.find(([name]) => text.startsWith(name));
    throw field ? invalid(field[1] + text.slice(field[0].length)) : error;
  }
}
