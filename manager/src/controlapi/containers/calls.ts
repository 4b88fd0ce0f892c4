import { ClusterError } from '@tessera/shared/errors';
import type { ContainerCallRequest, ContainerCallResult, ContainerStats } from '@tessera/shared/wire';
import type { SideStream, StreamKind } from '../../streams/index.js';
import type { ControlContext } from '../ports.js';
import { type KnownContainer, nodeIdOf, whyUnreachable } from './lookup.js';

export type ContainerCall = NonNullable<ContainerCallRequest['call']>;
type Result = NonNullable<ContainerCallResult['result']>;

/** Questions to the agent that has a container, each with one answer and executed at most once. */
export class ContainerCalls {
  readonly #context: ControlContext;

  constructor(context: ControlContext) {
    this.#context = context;
  }

  /** @throws ClusterError what the agent answered; `unavailable` when it cannot be reached */
  async call<C extends Result['$case']>(
    container: KnownContainer,
    call: ContainerCall,
    expected: C,
    signal: AbortSignal,
  ): Promise<Extract<Result, { $case: C }>['value']> {
    const value = { containerId: container.container.id, call };
    const stream = await this.open(container, { $case: 'containerCall', value }, signal);
    try {
      for await (const { body } of stream.frames) {
        if (body?.$case !== 'callResult') continue;
        const { result } = body.value;
        if (result?.$case === expected) return result.value as never;
        throw new ClusterError(
          'internal',
          `the node answered ${result?.$case ?? 'nothing'} to ${call.$case}`,
        );
      }
      throw new ClusterError('unavailable', `the node did not answer to ${call.$case}`);
    } finally {
      stream.close();
    }
  }

  /** A stream with the agent of a container's node. @throws ClusterError `unavailable` */
  open(container: KnownContainer, kind: StreamKind, signal: AbortSignal): Promise<SideStream> {
    const nodeId = nodeIdOf(container);
    const error = whyUnreachable(container.view, nodeId);
    if (error) throw error;
    return this.#context.streams.requestStream(nodeId, kind, signal);
  }

  /** Counters, once or each second until the container ends. */
  async *stats(
    container: KnownContainer,
    stream: boolean,
    signal: AbortSignal,
  ): AsyncGenerator<ContainerStats> {
    const value = { containerId: container.container.id, stream };
    const source = await this.open(container, { $case: 'containerStats', value }, signal);
    try {
      for await (const { body } of source.frames) if (body?.$case === 'stats') yield body.value;
    } finally {
      source.close();
    }
  }
}
