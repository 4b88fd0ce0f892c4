import { readFileSync } from 'node:fs';
import { ClusterError, invalid } from '../errors/index.js';

const GROUPS_FILE = '/etc/group';
const GROUP_ID_MAX = 2 ** 31 - 1;
/** dockerd's default, which need not be there. */
export const DEFAULT_SOCKET_GROUP = 'docker';

/**
 * The id of the group whose members may open the API's socket, by name or number. Undefined: root's alone, where it is
 * the default group that this host does not have, or none was wanted.
 *
 * @throws ClusterError `invalidArgument` for a group that was asked for and is not there
 */
export function socketGroupId(name: string, groupsFile = GROUPS_FILE): number | undefined {
  if (name === '') return undefined;
  if (/^\d+$/.test(name) && Number(name) <= GROUP_ID_MAX) return Number(name);
  const found = read(groupsFile)
    .map((line) => line.split(':'))
    .find(([each]) => each === name);
  const id = Number(found?.[2] || Number.NaN);
  if (Number.isInteger(id) && id >= 0 && id <= GROUP_ID_MAX) return id;
  if (name === DEFAULT_SOCKET_GROUP) return undefined;
  throw invalid(`--socket-group: there is no group ${name} on this host`);
}

function read(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new ClusterError('internal', `cannot read ${path}`, { cause });
  }
}
