import { gzipSync } from 'node:zlib';
import { type Header, pack } from 'tar-stream';

/** An entry of a layer, as tar has it: what is left out is a regular, empty file of root's. */
export interface LayerEntry extends Partial<Omit<Header, 'name' | 'pax'>> {
  readonly name: string;
  readonly content?: string | Uint8Array;
  readonly xattrs?: Readonly<Record<string, string>>;
}

/** One time for everything, so that the same entries give the same bytes. */
const MTIME = new Date('2026-01-01T00:00:00Z');

/** An uncompressed layer. */
export async function makeLayer(entries: readonly LayerEntry[]): Promise<Buffer> {
  const tar = pack();
  const pieces: Buffer[] = [];
  const done = (async () => {
    for await (const piece of tar) pieces.push(piece as Buffer);
  })();
  for (const { content, xattrs, ...header } of entries) {
    const body = Buffer.from(content ?? '');
    const pax = Object.fromEntries(
      Object.entries(xattrs ?? {}).map(([name, value]) => [`SCHILY.xattr.${name}`, value]),
    );
    const isFile = (header.type ?? 'file') === 'file';
    const defaults = { mode: header.type === 'directory' ? 0o755 : 0o644, uid: 0, gid: 0, mtime: MTIME };
    const full = { ...defaults, ...header, ...(xattrs ? { pax } : {}) };
    tar.entry(isFile ? { ...full, size: body.length } : full, body);
  }
  tar.finalize();
  await done;
  return Buffer.concat(pieces);
}

export type Compression = 'plain' | 'gzip' | 'zstd';

export function compress(bytes: Buffer, compression: Compression): Buffer {
  switch (compression) {
    case 'plain':
      return bytes;
    case 'gzip':
      return gzipSync(bytes, { level: 1 });
    case 'zstd':
      return zstdFrame(rawBlocks(bytes));
  }
}

const BLOCK_BYTES = 128 * 1024;

/** A zstd frame of a byte repeated: 4 bytes of it become 128 KiB. */
export const zstdOfZeros = (blockCount: number): Buffer =>
  zstdFrame(
    Array.from({ length: blockCount }, () => ({ type: 1, size: BLOCK_BYTES, body: Buffer.from([0]) })),
  );

interface Block {
  /** 0: as it is; 1: one byte, repeated. */
  readonly type: 0 | 1;
  readonly size: number;
  readonly body: Buffer;
}

function rawBlocks(bytes: Buffer): Block[] {
  const blocks: Block[] = [];
  for (let at = 0; at === 0 || at < bytes.length; at += BLOCK_BYTES) {
    const body = bytes.subarray(at, at + BLOCK_BYTES);
    blocks.push({ type: 0, size: body.length, body });
  }
  return blocks;
}

/** Source: RFC 8878, 3.1.1. Node 20 has no zstd; blocks that are stored need none. */
function zstdFrame(blocks: readonly Block[]): Buffer {
  // Magic, no content size or checksum, a window of 1 MiB.
  const pieces: Buffer[] = [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 10 << 3])];
  for (const [index, { type, size, body }] of blocks.entries()) {
    const isLast = index === blocks.length - 1 ? 1 : 0;
    const header = Buffer.alloc(3);
    header.writeUIntLE((size << 3) | (type << 1) | isLast, 0, 3);
    pieces.push(header, body);
  }
  return Buffer.concat(pieces);
}
