import { ClusterError, invalid } from '@tessera/shared/errors';
import type { ContainerLabels } from '../../../../containers/runtime.js';
import type { Namespaces } from '../../namespaces.js';
import { formatContext, parseContext, type SelinuxContext, UNCONFINED_LEVEL } from './context.js';
import type { SelinuxPolicy } from './policy.js';

/** What decides, of a container, which options count. */
export interface LabelledContainer {
  /** Of `--security-opt label=`. */
  readonly asked: readonly string[];
  readonly privileged: boolean;
  readonly namespaces: Namespaces;
  /** The label of the commands of a container whose namespaces it joins; empty: none. */
  readonly labelOf: (containerId: string) => string;
}

/**
 * What is asked for, else what goes with the container's namespaces: none with the host's, those of the container that it
 * joins. Source: moby, daemon/daemon_unix.go, generateSecurityOpt; Container.GetProcessLabel.
 *
 * @throws ClusterError when the containers it joins have different ones, in Docker's words
 */
export function labelOptions({
  asked,
  privileged,
  namespaces,
  labelOf,
}: LabelledContainer): readonly string[] {
  if (privileged) return ['disable'];
  if (asked.length > 0) return asked;
  const { pid, ipc, joins } = namespaces;
  if (pid === 'host' || ipc === 'host') return ['disable'];
  const labels = joins
    .filter(({ kind }) => kind !== 'network')
    .map(({ containerId }) => labelOf(containerId));
  const [first = '', ...others] = labels.filter((label) => label !== '');
  if (others.some((label) => label !== first))
    throw new ClusterError('internal', "--ipc and --pid containers SELinux labels aren't the same");
  const context = parseContext(first);
  if (!context) return [];
  const { user, role, type, level } = context;
  return [`user:${user}`, `role:${role}`, `type:${type}`, ...(level === '' ? [] : [`level:${level}`])];
}

const KEYS: readonly string[] = ['user', 'role', 'type', 'level'];

/**
 * Applies options to the policy's own labels. Source: opencontainers/selinux, go-selinux/label, InitLabels.
 *
 * @param drawLevel a level that no container on this host has; asked for when the options name none
 * @throws ClusterError `invalidArgument` for an option that there is not, and a label that the policy does not have
 */
export function labelsOf(
  policy: SelinuxPolicy,
  options: readonly string[],
  drawLevel: () => string,
): ContainerLabels {
  for (const option of options) assertOption(option);
  if (options.includes('disable'))
    return { process: '', mount: formatContext(withLevel(policy.file, () => UNCONFINED_LEVEL)) };
  const values = new Map(options.map((option) => split(option)));
  const level = () => values.get('level') ?? drawLevel();
  const process = withLevel({ ...policy.process, ...pick(values, ['user', 'role', 'type']) }, level);
  const file = {
    ...policy.file,
    ...pick(values, ['user']),
    type: values.get('filetype') ?? policy.file.type,
  };
  const labels = {
    process: formatContext(process),
    mount: formatContext(withLevel(file, () => process.level)),
  };
  for (const label of [labels.process, labels.mount]) {
    if (!policy.isKnown(label))
      throw invalid(`HostConfig.SecurityOpt: the SELinux policy of this node has no label "${label}"`);
  }
  return labels;
}

const withLevel = (context: SelinuxContext, level: () => string): SelinuxContext =>
  context.level === '' ? context : { ...context, level: level() };

function split(option: string): [name: string, value: string] {
  const colon = option.indexOf(':');
  return [option.slice(0, colon), option.slice(colon + 1)];
}

const pick = (values: ReadonlyMap<string, string>, keys: readonly string[]): Partial<SelinuxContext> =>
  Object.fromEntries([...values].filter(([key]) => keys.includes(key)));

function assertOption(option: string): void {
  if (option === 'disable') return;
  const [name, value] = split(option);
  const shown = JSON.stringify(option);
  if (!option.includes(':'))
    throw invalid(
      `bad label option ${shown}, valid options 'disable' or \n'user, role, level, type, filetype' followed by ':' and a value`,
    );
  if (![...KEYS, 'filetype'].includes(name))
    throw invalid(
      `bad label option ${JSON.stringify(name)}, valid options are 'disable, user, role, level, type, filetype'`,
    );
  if (value === '' || /\s/.test(value))
    throw invalid(`bad label option ${shown}: a value without blanks must follow ':'`);
}
