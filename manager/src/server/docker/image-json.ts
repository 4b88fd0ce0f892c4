import type { ImageDeleteJson, ImageManifestJson } from '@tessera/shared/docker-api';
import type { Image } from '@tessera/shared/model';
import { familiarName, type ImageRemoval, layersOf } from '../../controlapi/index.js';
import { timeJson } from './json-edge.js';

/** The parts of an image's configuration that are shown. Source: OCI image spec, config.md. */
export interface ImageConfigJson {
  readonly created?: string;
  readonly author?: string;
  readonly comment?: string;
  readonly architecture?: string;
  readonly os?: string;
  readonly variant?: string;
  readonly docker_version?: string;
  readonly container?: string;
  readonly container_config?: Readonly<Record<string, unknown>> | null;
  readonly config?: { readonly Labels?: Record<string, string> | null; readonly [key: string]: unknown };
  readonly rootfs?: { readonly diff_ids?: readonly string[] };
  readonly history?: readonly {
    readonly created?: string;
    readonly created_by?: string;
    readonly comment?: string;
    readonly empty_layer?: boolean;
  }[];
}

/** Up to these API versions. */
const VIRTUAL_SIZE_MAX = 143;
const CONTAINER_CONFIG_MAX = 144;
const DOCKER_CONFIG_MAX = 149;
/** From this one on. */
const DESCRIPTOR = 148;

/** Of images as the store has them, which never change: a list of 500 containers of one image reads its text once. */
const parsed = new WeakMap<Image, ImageConfigJson>();

/** Verified by digest when it was loaded, so it is what its author wrote; yet foreign, hence every field optional. */
export function imageConfig(image: Image): ImageConfigJson {
  const known = parsed.get(image);
  if (known) return known;
  const config = parseConfig(image);
  parsed.set(image, config);
  return config;
}

function parseConfig(image: Image): ImageConfigJson {
  try {
    const value: unknown = JSON.parse(Buffer.from(image.config).toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as ImageConfigJson) : {};
  } catch {
    return {};
  }
}

/** When its author made it; 0 where that is not said. */
export const createdMs = (image: Image): number => Date.parse(imageConfig(image).created ?? '') || 0;

/** The body of `GET /images/:name/json`, as the API version has it. Source: moby daemon/images/image_inspect.go. */
export function inspectToDocker(image: Image, version: number): object {
  const config = imageConfig(image);
  return {
    Id: image.configDigest,
    RepoTags: image.names.map(familiarName),
    RepoDigests: repoDigests(image),
    Parent: image.parentId,
    Comment: config.comment || config.history?.at(-1)?.comment || '',
    Created: config.created ?? timeJson(image.meta?.createdAtMs ?? 0),
    ...(version <= CONTAINER_CONFIG_MAX
      ? { Container: config.container ?? '', ContainerConfig: containerConfig(config.container_config) }
      : {}),
    DockerVersion: config.docker_version ?? '',
    Author: config.author ?? '',
    Config: version <= DOCKER_CONFIG_MAX ? containerConfig(config.config) : (config.config ?? {}),
    Architecture: config.architecture ?? '',
    ...(config.variant ? { Variant: config.variant } : {}),
    Os: config.os || 'linux',
    Size: image.sizeBytes,
    ...(version <= VIRTUAL_SIZE_MAX ? { VirtualSize: image.sizeBytes } : {}),
    GraphDriver: { Data: null, Name: 'overlayfs' },
    RootFS: { Type: 'layers', Layers: config.rootfs?.diff_ids ?? [] },
    Metadata: { LastTagTime: timeJson(image.lastTaggedAtMs) },
    ...(version >= DESCRIPTOR ? { Descriptor: descriptorOf(image) } : {}),
  };
}

/** Docker's older clients see a container's whole configuration, empty as most of it is. */
const containerConfig = (config: object | null | undefined): object => ({
  Hostname: '',
  Domainname: '',
  User: '',
  AttachStdin: false,
  AttachStdout: false,
  AttachStderr: false,
  Tty: false,
  OpenStdin: false,
  StdinOnce: false,
  Env: null,
  Cmd: null,
  Image: '',
  Volumes: null,
  WorkingDir: '',
  Entrypoint: null,
  OnBuild: null,
  Labels: null,
  ...config,
});

/** The body of `GET /images/:name/history`, the newest step first. */
export function historyToDocker(image: Image): object[] {
  const layers = layersOf(image);
  let at = 0;
  const steps = (imageConfig(image).history ?? []).map(
    ({ created, created_by, comment, empty_layer: isEmpty }) => ({
      Id: '<missing>',
      Created: Math.floor(Date.parse(created ?? '') / 1000) || 0,
      CreatedBy: created_by ?? '',
      Tags: null as readonly string[] | null,
      Size: isEmpty ? 0 : (layers[at++]?.sizeBytes ?? 0),
      Comment: comment ?? '',
    }),
  );
  const newest = steps.pop();
  if (!newest) return [];
  const Tags = image.names.length > 0 ? image.names.map(familiarName) : null;
  return [{ ...newest, Id: image.configDigest, Tags }, ...steps.reverse()];
}

/** As registries have it; and for names that none has, the digest that pins them here. */
export function repoDigests(image: Image): string[] {
  const known = image.repoDigests.map(familiarName);
  const repositories = new Set(
    image.names.map(familiarName).map((name) => name.slice(0, name.lastIndexOf(':'))),
  );
  const others = [...repositories].filter((each) => !known.some((text) => text.startsWith(`${each}@`)));
  return [...known, ...others.map((repository) => `${repository}@${image.id}`)].sort();
}

/** What a registry says of its manifest. */
export function descriptorOf(image: Image) {
  const { mediaType } = JSON.parse(Buffer.from(image.manifest).toString('utf8')) as { mediaType?: string };
  return {
    mediaType: mediaType ?? 'application/vnd.oci.image.manifest.v1+json',
    digest: image.id,
    size: image.manifest.length,
  };
}

/** One of `Manifests`: an image here is of one platform. */
export function manifestToDocker(image: Image, containerIds: readonly string[]): ImageManifestJson {
  const { os = 'linux', architecture = '', variant } = imageConfig(image);
  return {
    ID: image.id,
    Descriptor: descriptorOf(image),
    Available: image.layerBytes.length > 0,
    Kind: 'image',
    Size: { Content: image.blobBytes, Total: image.blobBytes + image.sizeBytes },
    ImageData: {
      Platform: { architecture, os, ...(variant ? { variant } : {}) },
      Containers: containerIds,
      Size: { Unpacked: image.sizeBytes },
    },
  };
}

export const removalsToDocker = (removals: readonly ImageRemoval[]): ImageDeleteJson[] =>
  removals.map((removal) =>
    removal.kind === 'untagged' ? { Untagged: removal.name } : { Deleted: removal.id },
  );
