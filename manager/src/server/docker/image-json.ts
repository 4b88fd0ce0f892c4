import type { Image } from '@tessera/shared/model';
import { familiarName } from '../../controlapi/index.js';
import { timeJson } from './json-edge.js';

/** The parts of an image's configuration that are shown. Source: OCI image spec, config.md. */
export interface ImageConfigJson {
  readonly created?: string;
  readonly author?: string;
  readonly architecture?: string;
  readonly os?: string;
  readonly variant?: string;
  readonly config?: { readonly Labels?: Record<string, string> | null; readonly [key: string]: unknown };
  readonly rootfs?: { readonly diff_ids?: readonly string[] };
  readonly history?: readonly {
    readonly created?: string;
    readonly created_by?: string;
    readonly comment?: string;
  }[];
}

/** Verified by digest when it was loaded, so it is what its author wrote; yet foreign, hence every field optional. */
export function imageConfig(image: Image): ImageConfigJson {
  try {
    const value: unknown = JSON.parse(Buffer.from(image.config).toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as ImageConfigJson) : {};
  } catch {
    return {};
  }
}

/** Go's zero time: no name was ever given to it here. */
const NEVER = '0001-01-01T00:00:00Z';

/** The body of `GET /images/:name/json`. */
export function inspectToDocker(image: Image): object {
  const config = imageConfig(image);
  const names = image.names.map(familiarName);
  return {
    Id: image.configDigest,
    RepoTags: names,
    RepoDigests: repoDigests(image),
    Parent: '',
    Comment: '',
    Created: config.created ?? timeJson(image.meta?.createdAtMs ?? 0),
    Author: config.author ?? '',
    Architecture: config.architecture ?? '',
    Variant: config.variant ?? '',
    Os: config.os ?? 'linux',
    Size: image.sizeBytes,
    Config: config.config ?? {},
    GraphDriver: { Name: 'overlayfs', Data: null },
    RootFS: { Type: 'layers', Layers: config.rootfs?.diff_ids ?? [] },
    Metadata: { LastTagTime: image.lastTaggedAtMs ? timeJson(image.lastTaggedAtMs) : NEVER },
  };
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
