import { encodeRecords, joinSpec, SPEC_FLAGS, type SpecRecord } from '@tessera/native';
import { invalid } from '@tessera/shared/errors';
import type { ExecRequest } from '../live-container.js';
import { capabilityMask, containerCapabilities } from './capabilities.js';

/**
 * Compiles an exec for the shim: what it leaves out the shim takes from the container's own spec.
 *
 * @param host what a privileged one may have at most
 * @throws ClusterError `invalidArgument` naming the field
 */
export function execSpec(
  id: string,
  request: ExecRequest,
  host: { readonly hostCapabilities: bigint; readonly apparmor: boolean },
): Buffer {
  const { args, user, workingDir, privileged, tty, stdin } = request;
  if (args.length === 0) throw invalid('No exec command specified');
  if (workingDir && !workingDir.startsWith('/'))
    throw invalid(`workdir: "${workingDir}" must be an absolute path`);
  return joinSpec([
    encodeRecords([
      { name: 'ID', strings: [id] },
      // As Docker: the filter stays, the profile does not.
      ...(privileged && host.apparmor ? [{ name: 'APPARMOR', strings: ['unconfined'] } as const] : []),
      ...(privileged ? [allCapabilities(host.hostCapabilities)] : []),
      ...(user ? [{ name: 'USER', strings: [user] } as const] : []),
      ...(workingDir ? [{ name: 'CWD', strings: [workingDir] } as const] : []),
      { name: 'FLAGS', numbers: [(tty ? SPEC_FLAGS.FLAG_TTY : 0) | (stdin ? SPEC_FLAGS.FLAG_STDIN : 0)] },
      { name: 'ENV', strings: environment(request) },
      { name: 'ARGS', strings: args },
    ]),
  ]);
}

function allCapabilities(host: bigint): SpecRecord {
  const capabilities = containerCapabilities({ add: [], drop: [], privileged: true });
  return { name: 'CAPABILITIES', numbers: [capabilityMask(capabilities, host), 0] };
}

/** Later ones win. */
function environment({ env }: ExecRequest): string[] {
  const variables = new Map<string, string>();
  for (const entry of env) {
    const equals = entry.indexOf('=');
    if (equals === 0) throw invalid(`env: "${entry}" has no name: write NAME=value`);
    if (equals > 0) variables.set(entry.slice(0, equals), entry.slice(equals + 1));
  }
  return [...variables].map(([name, value]) => `${name}=${value}`);
}
