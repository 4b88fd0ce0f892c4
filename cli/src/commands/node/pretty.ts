import type { NodeJson } from '@tessera/shared/docker-api';
import { binarySize } from '@tessera/shared/units';
import { capitalized } from '../../output/words.js';

/**
 * A node in the form for people. Names and layout as `docker node inspect --pretty` has them; source: docker/cli
 * cli/command/node/formatter.go. Managers here have no Raft of their own, so they are reachable or not.
 */
export function prettyNode({ ID, CreatedAt, Spec, Description, Status, ManagerStatus }: NodeJson): string[] {
  const { Platform, Resources, Engine } = Description;
  return [
    `ID:\t\t\t${ID}`,
    ...(Spec.Name ? [`Name:\t\t\t${Spec.Name}`] : []),
    ...labels('Labels:', Spec.Labels),
    `Hostname:\t\t${Description.Hostname}`,
    `Joined at:\t\t${CreatedAt}`,
    'Status:',
    ` State:\t\t\t${capitalized(Status.State)}`,
    ...(Status.Message ? [` Message:\t\t${Status.Message}`] : []),
    ` Availability:\t\t${capitalized(Spec.Availability)}`,
    ...(Status.Addr ? [` Address:\t\t${Status.Addr}`] : []),
    ...(ManagerStatus
      ? [
          'Manager Status:',
          ` Address:\t\t${ManagerStatus.Addr}`,
          ` Reachability:\t\t${capitalized(ManagerStatus.Reachability)}`,
          ` Leader:\t\t${ManagerStatus.Leader ? 'Yes' : 'No'}`,
        ]
      : []),
    'Platform:',
    ` Operating System:\t${Platform.OS}`,
    ` Architecture:\t\t${Platform.Architecture}`,
    'Resources:',
    ` CPUs:\t\t\t${(Resources.NanoCPUs ?? 0) / 1e9}`,
    ` Memory:\t\t${binarySize(Resources.MemoryBytes ?? 0)}`,
    `Engine Version:\t\t${Engine.EngineVersion}`,
    ...labels('Engine Labels:', Engine.Labels),
  ];
}

function labels(title: string, map: Readonly<Record<string, string>> | undefined): string[] {
  const lines = Object.entries(map ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => ` - ${key}${value === '' ? '' : `=${value}`}`);
  return lines.length > 0 ? [title, ...lines] : [];
}
