import { errnoName, type ShimFailure, errnoSentence as sentence } from '@tessera/native';
import { StartError } from '../executor.js';

/** The container whose namespaces were to be joined lends them not. */
export class LendingError extends Error {
  override readonly name = 'LendingError';

  constructor(
    readonly containerId: string,
    readonly errno: string,
  ) {
    super(`container ${containerId} cannot be joined: ${errno}`);
  }
}

/**
 * Docker's exit code and words for a start that failed: 127 where there is no such command, 126 where it cannot
 * be invoked, 125 where the container itself could not be made.
 *
 * Source: moby, daemon/errors.go; Go, os/exec LookPath.
 */
export function startError(failure: ShimFailure): StartError | LendingError {
  const { stage, errno, detail } = failure;
  const name = JSON.stringify(detail);
  switch (stage) {
    case 'NOT_FOUND':
      return new StartError(127, `exec: ${name}: executable file not found in $PATH`);
    case 'STAT':
      return new StartError(127, `exec: ${name}: stat ${detail}: ${sentence(errno)}`);
    case 'EXEC':
      // The file is there; what is missing is the interpreter it names.
      return new StartError(errnoName(errno) === 'ENOENT' ? 127 : 126, `exec: ${name}: ${sentence(errno)}`);
    case 'CWD':
      return new StartError(
        126,
        `working directory ${name} (--workdir, or the image's) cannot be entered: ${sentence(errno)}`,
      );
    case 'USER':
      return errnoName(errno) === 'ERANGE'
        ? new StartError(125, `user ${detail}: uids and gids must be in range 0-2147483647`)
        : new StartError(125, `unable to find user ${detail}: no matching entries in passwd file`);
    case 'GROUPS':
      return new StartError(125, `unable to find group ${detail}: no matching entries in group file`);
    case 'DIED':
      return new StartError(
        125,
        detail === 'out of memory'
          ? 'the container ran out of memory before its command could start: raise its memory limit'
          : 'the container was killed before its command could start',
      );
    case 'SPEC':
      return new StartError(125, `the shim refused the container's specification: ${detail}`);
    case 'MOUNT':
      return new StartError(125, `mount ${detail}: ${ofNoCommand(errno)}`);
    case 'SHARED':
      return new StartError(
        125,
        `mount ${detail}: it would lie on a mount that is shared with the host, and stay there: choose another place, or let that mount be rslave`,
      );
    case 'LOAN':
      return new LendingError(detail, errnoName(errno));
    case 'APPARMOR':
      return new StartError(
        125,
        `unable to apply apparmor profile: apparmor failed to apply profile ${detail}: ${sentence(errno)}`,
      );
    case 'LABEL':
      return new StartError(125, `can't set process label ${name}: ${ofNoCommand(errno)}`);
    case 'RELABEL':
      return new StartError(
        125,
        `error setting label on mount source '${detail}': ${
          isNotSupported(errno) ? `SELinux relabeling of ${detail} is not allowed` : ofNoCommand(errno)
        }`,
      );
    case 'SYSCTL':
      return new StartError(125, `sysctl ${detail.replaceAll('/', '.')}: ${sentence(errno)}`);
    default:
      return new StartError(
        125,
        `container setup failed (${stage.toLowerCase()} ${detail}): ${ofNoCommand(errno)}`,
      );
  }
}

const isNotSupported = (errno: number): boolean => ['EOPNOTSUPP', 'ENOTSUP'].includes(errnoName(errno));

/**
 * The docker CLI tells by the words of the error that the command could not be run, and ends with 126 or 127; what else
 * is missing or closed is put in other ones. Source: docker/cli, cli/command/container/run.go.
 */
function ofNoCommand(errno: number): string {
  switch (errnoName(errno)) {
    case 'ENOENT':
      return 'it does not exist';
    case 'EACCES':
      return 'access to it is denied';
    case 'EISDIR':
      return 'a folder is in its place';
    default:
      return sentence(errno);
  }
}
