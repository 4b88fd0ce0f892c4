import { parentPort } from 'node:worker_threads';
import { ClusterError, errorText } from '@tessera/shared/errors';
import { HostKernel } from './host-kernel.js';
import type { Answer, Request } from './kernel-thread.js';
import type { HostOptions } from './kernel-types.js';

const hosts = new Map<number, HostKernel>();

function perform({ host, method, args }: Request): unknown {
  if (method === 'open') {
    hosts.set(host, new HostKernel(args[0] as HostOptions));
    return undefined;
  }
  const kernel = hosts.get(host);
  if (!kernel) throw new ClusterError('internal', `no host ${host} in the network thread`);
  return (kernel[method] as (...all: readonly unknown[]) => unknown).apply(kernel, args as unknown[]);
}

parentPort?.on('message', (request: Request) => {
  let answer: Answer;
  try {
    answer = { id: request.id, value: perform(request) };
  } catch (error) {
    const kind = error instanceof ClusterError ? error.kind : 'internal';
    answer = { id: request.id, error: { kind, message: errorText(error) } };
  }
  parentPort?.postMessage(answer);
});
