// make-image.js OUT.tar [--layers N] [--name NAME:TAG] [--format docker|docker-oci|oci]
//               [--compression plain|gzip|zstd] [--layer-compression plain|gzip|zstd]
import { parseArgs } from 'node:util';
import { makeBusyboxArchive } from './busybox.js';
import type { ArchiveFormat } from './make-archive.js';
import type { Compression } from './make-layer.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    layers: { type: 'string', default: '1' },
    name: { type: 'string', multiple: true, default: ['busybox:latest'] },
    format: { type: 'string', default: 'docker' },
    compression: { type: 'string', default: 'plain' },
    'layer-compression': { type: 'string', default: 'plain' },
  },
});
const [path] = positionals;
if (path === undefined) {
  process.stderr.write('usage: make-image.js OUT.tar [--layers N] [--name NAME:TAG] [--format FORMAT]\n');
  process.exit(125);
}
await makeBusyboxArchive(path, {
  names: values.name,
  layers: Number(values.layers),
  format: values.format as ArchiveFormat,
  compression: values.compression as Compression,
  layerCompression: values['layer-compression'] as Compression,
});
