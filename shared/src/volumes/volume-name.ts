import { invalid } from '../errors/index.js';

/** Of volumes that nobody has named. Source: moby, volume/service: AnonymousLabel. */
export const ANONYMOUS_LABEL = 'com.docker.volume.anonymous';

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
const NAME_LENGTH_MAX = 255;

/** @throws ClusterError `invalidArgument` in Docker's words */
export function assertVolumeName(name: string): void {
  if (name.length === 1)
    throw invalid(
      `create ${name}: volume name is too short, names should be at least two alphanumeric characters`,
    );
  if (name.length > NAME_LENGTH_MAX || !NAME.test(name))
    throw invalid(
      `create ${name.slice(0, NAME_LENGTH_MAX)}: "${name.slice(0, NAME_LENGTH_MAX)}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
    );
}
