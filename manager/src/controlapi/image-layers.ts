import { chainIds } from '@tessera/shared/digest';
import type { Image } from '@tessera/shared/model';

/** One layer of an image. Two images share what has one chain id. */
export interface ImageLayer {
  readonly chainId: string;
  /** Unpacked; of its blob, while no node has unpacked it. */
  readonly sizeBytes: number;
}

/** Bottom first. */
export function layersOf(image: Image): ImageLayer[] {
  const config = parsed<{ rootfs?: { diff_ids?: unknown } }>(image.config);
  const manifest = parsed<{ layers?: readonly { size?: unknown }[] }>(image.manifest);
  const diffIds = config?.rootfs?.diff_ids;
  if (!Array.isArray(diffIds)) return [];
  return chainIds(diffIds.map(String)).map((chainId, index) => ({
    chainId,
    sizeBytes: image.layerBytes[index] ?? (Number(manifest?.layers?.[index]?.size) || 0),
  }));
}

/** What images have of layers together, each once; and what an image has in common with others. */
export class LayerUse {
  readonly #uses = new Map<string, { count: number; readonly sizeBytes: number }>();

  constructor(images: readonly Image[]) {
    // A configuration that lies in two manifests is one image.
    const each = new Map(images.map((image) => [image.configDigest, image]));
    for (const image of each.values()) {
      for (const { chainId, sizeBytes } of layersOf(image)) {
        const use = this.#uses.get(chainId);
        if (use) use.count++;
        else this.#uses.set(chainId, { count: 1, sizeBytes });
      }
    }
  }

  get totalBytes(): number {
    return sum([...this.#uses.values()]);
  }

  sharedBytes(image: Image): number {
    return sum(layersOf(image).filter(({ chainId }) => (this.#uses.get(chainId)?.count ?? 0) > 1));
  }

  /** The layers that no other image has. */
  ownLayers(image: Image): ImageLayer[] {
    return layersOf(image).filter(({ chainId }) => (this.#uses.get(chainId)?.count ?? 0) <= 1);
  }
}

const sum = (layers: readonly { readonly sizeBytes: number }[]): number =>
  layers.reduce((total, { sizeBytes }) => total + sizeBytes, 0);

/** Foreign, though verified by digest: whatever is no object counts as empty. */
function parsed<T extends object>(bytes: Uint8Array): T | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as T) : undefined;
  } catch {
    return undefined;
  }
}
