import type { ServiceJson, TaskSpecJson, UpdateConfigJson } from '@tessera/shared/docker-api';
import { binarySize, goDuration, timeAgo } from '@tessera/shared/units';

/** Lines of the form; undefined where the service has nothing to say. */
type Lines = readonly (string | undefined)[];

/**
 * A service in the form for people. Names and layout as `docker service inspect --pretty` has them, where Tessera has
 * the thing; source: docker/cli cli/command/service/formatter.go.
 *
 * @param networkNames by id
 */
export function prettyService(
  { ID, Spec, Endpoint, UpdateStatus }: ServiceJson,
  networkNames: ReadonlyMap<string, string>,
  nowMs: number,
): string[] {
  const task = Spec.TaskTemplate ?? {};
  const networks = (task.Networks ?? []).map(({ Target }) => networkNames.get(Target) ?? Target);
  const lines: Lines = [
    `ID:\t\t${ID}`,
    `Name:\t\t${Spec.Name ?? ''}`,
    ...section('Labels:', mapLines(Spec.Labels, ' ')),
    ...modeLines(Spec.Mode),
    ...updateStatusLines(UpdateStatus, nowMs),
    ...placementLines(task.Placement),
    ...updateLines('UpdateConfig:', 'Update order', Spec.UpdateConfig),
    ...updateLines('RollbackConfig:', 'Rollback order', Spec.RollbackConfig),
    ...containerLines(task),
    ...resourceLines(task.Resources),
    networks.length > 0 ? `Networks: ${networks.join(' ')}` : undefined,
    `Endpoint Mode:\t${Endpoint.Spec.Mode ?? 'vip'}`,
  ];
  return lines.filter((line) => line !== undefined);
}

const section = (title: string, lines: Lines): Lines =>
  lines.some((line) => line !== undefined) ? [title, ...lines] : [];

const field = (label: string, value: string | number | undefined): string | undefined =>
  value === undefined || value === '' || value === 0 ? undefined : `${label}${value}`;

const list = (items: readonly string[] | undefined, separator = ' '): string | undefined =>
  items && items.length > 0 ? items.join(separator) : undefined;

const mapLines = (map: Readonly<Record<string, string>> | undefined, indent: string): Lines =>
  Object.entries(map ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${indent}${key}${value === '' ? '' : `=${value}`}`);

function modeLines(mode: ServiceJson['Spec']['Mode']): Lines {
  if (mode?.Global) return ['Service Mode:\tGlobal'];
  return ['Service Mode:\tReplicated', ` Replicas:\t${mode?.Replicated?.Replicas ?? 1}`];
}

function updateStatusLines(status: ServiceJson['UpdateStatus'], nowMs: number): Lines {
  if (!status) return [];
  const ago = (time: string | undefined) => (time ? timeAgo(nowMs, Date.parse(time)) : undefined);
  return section('UpdateStatus:', [
    ` State:\t\t${status.State}`,
    field(' Started:\t', ago(status.StartedAt)),
    field(' Completed:\t', ago(status.CompletedAt)),
    ` Message:\t${status.Message}`,
  ]);
}

function placementLines(placement: TaskSpecJson['Placement']): Lines {
  const spread = placement?.Preferences?.map(({ Spread }) => `spread=${Spread.SpreadDescriptor}`);
  const bracketed = (items: readonly string[] | undefined) => (list(items) ? `[${list(items)}]` : undefined);
  return [
    'Placement:',
    field(' Constraints:\t', bracketed(placement?.Constraints)),
    field(' Preferences:   ', bracketed(spread)),
    field(' Max Replicas Per Node:   ', placement?.MaxReplicas),
  ];
}

function updateLines(title: string, order: string, config: UpdateConfigJson | undefined): Lines {
  if (!config) return [];
  return [
    title,
    ` Parallelism:\t${config.Parallelism ?? 0}`,
    config.Delay ? ` Delay:\t\t${goDuration(config.Delay)}` : undefined,
    ` On failure:\t${config.FailureAction ?? 'pause'}`,
    config.Monitor ? ` Monitoring Period: ${goDuration(config.Monitor)}` : undefined,
    ` Max failure ratio: ${config.MaxFailureRatio ?? 0}`,
    ` ${`${order}:`.padEnd(18)} ${config.Order ?? 'stop-first'}`,
  ];
}

function containerLines({ ContainerSpec: spec = {} }: TaskSpecJson): Lines {
  return [
    'ContainerSpec:',
    ` Image:\t\t${spec.Image ?? ''}`,
    field(' Command:\t', list(spec.Command)),
    field(' Args:\t\t', list(spec.Args)),
    field(' Env:\t\t', list(spec.Env)),
    field(' Dir:\t\t', spec.Dir),
    field(' User: ', spec.User),
    ...section('Capabilities:', [
      field(' Add: ', list(spec.CapabilityAdd, ', ')),
      field(' Drop: ', list(spec.CapabilityDrop, ', ')),
    ]),
    ...section(
      'SysCtls:',
      Object.entries(spec.Sysctls ?? {}).map(([key, value]) => ` ${key}: ${value}`),
    ),
    ...section(
      'Ulimits:',
      (spec.Ulimits ?? []).map(({ Name, Soft, Hard }) => ` ${Name}: ${Soft}:${Hard}`),
    ),
    ...section(
      'Mounts:',
      (spec.Mounts ?? []).flatMap((mount) => [
        ` Target:\t${mount.Target}`,
        `  Source:\t${mount.Source ?? ''}`,
        `  ReadOnly:\t${mount.ReadOnly ?? false}`,
        `  Type:\t\t${mount.Type}`,
      ]),
    ),
  ];
}

function resourceLines(resources: TaskSpecJson['Resources']): Lines {
  const { Reservations: reserved, Limits: limits } = resources ?? {};
  const parts = (of: typeof limits): Lines => [
    field('  CPU:\t\t', of?.NanoCPUs ? of.NanoCPUs / 1e9 : undefined),
    field('  Memory:\t', of?.MemoryBytes ? binarySize(of.MemoryBytes) : undefined),
    field('  PIDs:\t\t', of?.Pids),
  ];
  return section('Resources:', [
    ...section(' Reservations:', parts(reserved)),
    ...section(' Limits:', parts(limits)),
  ]);
}
