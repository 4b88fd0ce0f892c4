import { ClusterError } from '@tessera/shared/errors';
import type { Container } from '@tessera/shared/model';

/** What every container that has been created has. */
export function partsOf({ id, spec, host }: Container) {
  if (!spec || !host) throw new ClusterError('invalidArgument', `container ${id} has no specification`);
  return { spec, host };
}
