import { errorText, invalid } from '@tessera/shared/errors';
import { Mount } from '@tessera/shared/model';
import { checkedMount, mountFromDocker, tmpfsOptions } from '../mount-json.js';
import type { HostConfigBody } from './schema.js';

const UNITS: Readonly<Record<string, number>> = { '': 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** The kinds of words that may follow a target, each at most once. Source: moby, volume/mounts/linux_parser.go. */
const MODES: Readonly<Record<string, readonly string[]>> = {
  rights: ['ro', 'rw'],
  label: ['z', 'Z'],
  propagation: ['private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared'],
  copy: ['nocopy'],
  consistency: ['consistent', 'cached', 'delegated'],
};

/**
 * Binds, tmpfs, mounts and volumes are four ways to say one thing.
 *
 * @param volumes targets of volumes without a name: `-v /data`
 * @throws ClusterError `invalidArgument` in Docker's words
 */
export function mountsFromDocker(host: HostConfigBody, volumes: readonly string[]): Mount[] {
  const driver = host.VolumeDriver ?? '';
  const asked = [
    ...(host.Binds ?? []).map((text) => bind(text, driver)),
    ...Object.entries(host.Tmpfs ?? {}).map(([target, options]) => tmpfs(target, options)),
    ...(host.Mounts ?? []).map((json) => mountFromDocker(json)),
  ];
  const targets = new Set<string>();
  for (const { target } of asked) {
    if (targets.has(target)) throw invalid(`Duplicate mount point: ${target}`);
    targets.add(target);
  }
  const unnamed = volumes.map((text) => ({ ...bind(text, driver), origin: 'volumes' as const }));
  return [...asked, ...unnamed.filter(({ target }) => !targets.has(target))];
}

/** `[SOURCE:]TARGET[:MODE]` */
function bind(text: string, driver: string): Mount {
  const parts = text.split(':');
  const [first = '', second, mode = ''] = parts;
  const isTargetWithMode = parts.length === 2 && isMode(second ?? '');
  if (first === '' || parts.length > 3 || isTargetWithMode) throw invalid(spec(text));
  if (!isMode(mode)) throw invalid(`invalid mode: ${mode}`);
  const [source, target] = second === undefined ? ['', first] : [first, second];
  const words = mode.split(',');
  const type = source.startsWith('/') ? 'bind' : 'volume';
  const mount = Mount.fromPartial({
    type,
    source,
    target,
    origin: 'binds',
    mode,
    readOnly: words.includes('ro'),
    propagation: words.find((word) => MODES.propagation!.includes(word)) ?? '',
    createSource: type === 'bind',
    ...(type === 'volume' ? { volumeMount: { noCopy: words.includes('nocopy'), driver } } : {}),
  });
  try {
    return checkedMount(mount);
  } catch (error) {
    throw invalid(`${spec(text)}: ${errorText(error)}`);
  }
}

const spec = (text: string) => `invalid volume specification: '${text}'`;

function isMode(mode: string): boolean {
  if (mode === '') return true;
  const kinds = mode.split(',').map((word) => Object.keys(MODES).find((kind) => MODES[kind]!.includes(word)));
  return kinds.every((kind) => kind !== undefined) && new Set(kinds).size === kinds.length;
}

/** `rw,size=64m,mode=1777`, as mount(8) takes them. */
function tmpfs(target: string, text: string): Mount {
  const found = { tmpfsSizeBytes: 0, tmpfsMode: 0 };
  const others: string[] = [];
  for (const option of text.split(',').filter(Boolean)) {
    const [, name = '', value = ''] = /^([^=]*)=?(.*)$/s.exec(option) ?? [];
    const size = /^(\d+)([bkmg]?)b?$/i.exec(value);
    if (name === 'size' && size) found.tmpfsSizeBytes = Number(size[1]) * UNITS[size[2]!.toLowerCase()]!;
    else if (name === 'mode' && /^[0-7]{1,4}$/.test(value)) found.tmpfsMode = Number.parseInt(value, 8);
    else others.push(option);
  }
  return checkedMount(
    Mount.fromPartial({
      type: 'tmpfs',
      target,
      origin: 'tmpfs_flag',
      mode: text,
      tmpfsOptions: tmpfsOptions(others),
      ...found,
    }),
  );
}
