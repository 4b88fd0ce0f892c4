import type { MountJson } from '@tessera/shared/docker-api';
import { badFlag } from '../../cli-error.js';
import { parseBytes, parseMap } from '../../output/parse.js';

/** Docker's comma-separated mount. */
export function parseMount(item: string): MountJson {
  const fields = new Map<string, string[]>();
  for (const part of item.split(',')) {
    const at = part.indexOf('=');
    const name = at < 0 ? part : part.slice(0, at);
    fields.set(name, [...(fields.get(name) ?? []), at < 0 ? 'true' : part.slice(at + 1)]);
  }
  const takeAll = (...names: string[]) => {
    const name = names.find((candidate) => fields.has(candidate));
    const values = name === undefined ? [] : fields.get(name)!;
    if (name !== undefined) fields.delete(name);
    return values;
  };
  const take = (...names: string[]) => takeAll(...names).at(-1);
  const isSet = (value: string | undefined) => value !== undefined && value !== 'false' && value !== '0';
  const type = take('type') ?? 'volume';
  const source = take('source', 'src');
  const target = take('target', 'destination', 'dst');
  const readOnly = isSet(take('readonly', 'ro'));
  const propagation = take('bind-propagation');
  const nonRecursive = isSet(take('bind-nonrecursive'));
  const size = take('tmpfs-size');
  const mode = take('tmpfs-mode');
  const volume = parseVolume({
    noCopy: isSet(take('volume-nocopy')),
    subpath: take('volume-subpath'),
    driver: take('volume-driver'),
    labels: takeAll('volume-label'),
    options: takeAll('volume-opt'),
  });
  const [unknown] = fields.keys();
  if (unknown !== undefined) throw badFlag('--mount', item, `'${unknown}' is not known or not supported yet`);
  if (!target) throw badFlag('--mount', item, 'write target=/path/in/container');
  return {
    Type: type,
    ...(source ? { Source: source } : {}),
    Target: target,
    ...(readOnly ? { ReadOnly: true } : {}),
    ...(propagation || nonRecursive
      ? {
          BindOptions: {
            ...(propagation ? { Propagation: propagation } : {}),
            ...(nonRecursive ? { NonRecursive: true } : {}),
          },
        }
      : {}),
    ...(volume ? { VolumeOptions: volume } : {}),
    ...(size || mode
      ? {
          TmpfsOptions: {
            ...(size ? { SizeBytes: parseBytes('--mount')(size) } : {}),
            ...(mode ? { Mode: Number.parseInt(mode, 8) } : {}),
          },
        }
      : {}),
  };
}

function parseVolume(words: {
  readonly noCopy: boolean;
  readonly subpath: string | undefined;
  readonly driver: string | undefined;
  readonly labels: readonly string[];
  readonly options: readonly string[];
}): MountJson['VolumeOptions'] {
  const { noCopy, subpath, driver, labels, options } = words;
  const json = {
    ...(noCopy ? { NoCopy: true } : {}),
    ...(subpath ? { Subpath: subpath } : {}),
    ...(labels.length > 0 ? { Labels: parseMap(labels) } : {}),
    ...(driver || options.length > 0
      ? { DriverConfig: { Name: driver ?? 'local', Options: parseMap(options) } }
      : {}),
  };
  return Object.keys(json).length > 0 ? json : undefined;
}
