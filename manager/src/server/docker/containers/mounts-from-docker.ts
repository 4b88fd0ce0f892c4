import { invalid } from '@tessera/shared/errors';
import { Mount } from '@tessera/shared/model';
import type { HostConfigBody } from './schema.js';

const PROPAGATIONS = new Set(['private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared']);
const UNITS: Readonly<Record<string, number>> = { '': 1, b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };
/** What a tmpfs of Docker's has whatever is asked. */
const TMPFS_DEFAULTS = new Set(['rw', 'noexec', 'nosuid', 'nodev']);

/** Binds, tmpfs and mounts are three ways to say one thing. @throws ClusterError `invalidArgument` */
export function mountsFromDocker(host: HostConfigBody): Mount[] {
  return [
    ...(host.Binds ?? []).map(bind),
    ...Object.entries(host.Tmpfs ?? {}).map(([target, options]) => tmpfs(target, options)),
    ...(host.Mounts ?? []).map(mount),
  ];
}

/** `SOURCE:TARGET[:OPTIONS]` */
function bind(text: string): Mount {
  const [source = '', target, options = '', ...rest] = text.split(':');
  if (target === undefined || target === '' || rest.length > 0)
    throw invalid(`invalid volume specification: '${text}': write SOURCE:TARGET[:OPTIONS]`);
  if (!source.startsWith('/')) throw volume('HostConfig.Binds', text);
  let readOnly = false;
  let propagation = '';
  for (const option of options.split(',').filter(Boolean)) {
    if (option === 'ro' || option === 'rw') readOnly = option === 'ro';
    else if (PROPAGATIONS.has(option)) propagation = option;
    else if (option === 'z' || option === 'Z')
      throw invalid(
        `HostConfig.Binds: '${text}': labels of SELinux are not supported; leave '${option}' out`,
      );
    else throw invalid(`invalid mode: ${options}: '${option}' of ${text} is not known; use ro or rw`);
  }
  return Mount.fromPartial({ type: 'bind', source, target, readOnly, propagation });
}

/** `rw,size=64m,mode=1777`, as mount(8) takes them. */
function tmpfs(target: string, options: string): Mount {
  const found = { readOnly: false, tmpfsSizeBytes: 0, tmpfsMode: 0 };
  for (const option of options.split(',').filter(Boolean)) {
    const [, name = '', value = ''] = /^([^=]*)=?(.*)$/.exec(option) ?? [];
    const size = /^(\d+)([bkmg]?)b?$/i.exec(value);
    if (name === 'ro') found.readOnly = true;
    else if (name === 'size' && size) found.tmpfsSizeBytes = Number(size[1]) * UNITS[size[2]!.toLowerCase()]!;
    else if (name === 'mode' && /^[0-7]{1,4}$/.test(value)) found.tmpfsMode = Number.parseInt(value, 8);
    else if (!TMPFS_DEFAULTS.has(option))
      throw invalid(`HostConfig.Tmpfs.${target}: '${option}' is not supported yet; use size=, mode= or ro`);
  }
  return Mount.fromPartial({ type: 'tmpfs', target, ...found });
}

function mount(json: NonNullable<HostConfigBody['Mounts']>[number], index: number): Mount {
  const { Type: type } = json;
  if (type === 'volume') throw volume(`HostConfig.Mounts.${index}`, json.Source || json.Target);
  if (type !== 'bind' && type !== 'tmpfs')
    throw invalid(`HostConfig.Mounts.${index}.Type: '${type}' is not supported yet; use bind or tmpfs`);
  return Mount.fromPartial({
    type,
    source: json.Source ?? '',
    target: json.Target,
    readOnly: json.ReadOnly ?? false,
    propagation: json.BindOptions?.Propagation ?? '',
    tmpfsSizeBytes: json.TmpfsOptions?.SizeBytes ?? 0,
    tmpfsMode: json.TmpfsOptions?.Mode ?? 0,
  });
}

const volume = (field: string, text: string) =>
  invalid(`${field}: '${text}': volumes are not supported yet; use an absolute path of the node, or a tmpfs`);
