import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { ClusterError } from '@tessera/shared/errors';
import { type ArchiveOptions, type ImageContent, makeArchive } from './make-archive.js';
import { type LayerEntry, makeLayer } from './make-layer.js';

/** Debian's busybox-static puts it here; any statically linked busybox will do. */
const BUSYBOX_PATHS = ['/bin/busybox', '/usr/bin/busybox'];

export interface BusyboxOptions extends ArchiveOptions {
  /** `busybox:latest` when left out. */
  readonly names?: readonly string[];
  /** How many layers to make of it: the first is busybox, each other adds the file `/layers/<number>`. */
  readonly layers?: number;
  /** The `config` of the image configuration, over `Cmd: ['sh']`. */
  readonly config?: object;
}

/** An image of busybox with all its applets, users, and something for its httpd to serve. */
export async function busyboxImage(options: BusyboxOptions = {}): Promise<ImageContent> {
  const layers = [await makeLayer(busyboxEntries())];
  while (layers.length < (options.layers ?? 1)) {
    const number = layers.length + 1;
    layers.push(await makeLayer([directory('layers'), { name: `layers/${number}`, content: `${number}\n` }]));
  }
  return {
    names: options.names ?? ['busybox:latest'],
    layers,
    config: {
      Cmd: ['sh'],
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      ...options.config,
    },
  };
}

/** Writes an archive of `busyboxImage` to `path`. */
export async function makeBusyboxArchive(path: string, options: BusyboxOptions = {}): Promise<void> {
  await writeFile(path, await makeArchive([await busyboxImage(options)], options));
}

const directory = (name: string, mode = 0o755): LayerEntry => ({ name: `${name}/`, type: 'directory', mode });

/** Answers with the name of its container: which replica it was. */
const HOSTNAME_CGI = `#!/bin/sh
echo 'Content-Type: text/plain'
echo
hostname
`;

function busyboxEntries(): LayerEntry[] {
  const path = BUSYBOX_PATHS.find(existsSync);
  if (!path) {
    throw new ClusterError(
      'failedPrecondition',
      'busybox is missing: install the Debian package busybox-static',
    );
  }
  const applets = execFileSync(path, ['--list'], { encoding: 'utf8' })
    .split('\n')
    .filter((name) => name !== '' && name !== 'busybox');
  return [
    directory('bin'),
    { name: 'bin/busybox', content: readFileSync(path), mode: 0o755 },
    // Hard links, as in Docker's own image.
    ...applets.map(
      (name): LayerEntry => ({ name: `bin/${name}`, type: 'link', linkname: 'bin/busybox', mode: 0o755 }),
    ),
    directory('dev'),
    directory('etc'),
    {
      name: 'etc/passwd',
      content:
        'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nwww-data:x:33:33:www-data:/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n',
    },
    { name: 'etc/group', content: 'root:x:0:\ndaemon:x:1:\nwww-data:x:33:\nnogroup:x:65534:\n' },
    directory('home'),
    directory('root', 0o700),
    directory('tmp', 0o1777),
    directory('usr'),
    directory('usr/bin'),
    { name: 'usr/bin/env', type: 'symlink', linkname: '../../bin/env' },
    directory('var'),
    directory('www'),
    directory('www/cgi-bin'),
    { name: 'www/cgi-bin/hostname', content: HOSTNAME_CGI, mode: 0o755 },
    { name: 'www/index.html', content: '<h1>It works!</h1>\n' },
  ];
}
