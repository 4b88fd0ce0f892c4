import type { Logger } from '@tessera/shared/env';
import { ClusterError, errorText } from '@tessera/shared/errors';
import type {
  ContainerAttachRequest,
  ContainerCallRequest,
  ContainerCallResult,
  StreamRequest,
} from '@tessera/shared/wire';
import type { AttachedClient, ContainerLoop, Containers, TerminalSize } from '../containers/index.js';
import type { FrameStream } from './frame-stream.js';

type Kind = NonNullable<StreamRequest['kind']>;
type Result = NonNullable<ContainerCallResult['result']>;

/** Serves what managers ask of containers that are no task's, beside the session. */
export class ContainerStreams {
  constructor(
    private readonly containers: Containers,
    private readonly logger: Logger,
  ) {}

  /** @returns whether it is a kind of its own; resolves once that has been served */
  async serve(kind: Kind, stream: FrameStream, stop: AbortController): Promise<boolean> {
    switch (kind.$case) {
      case 'containerAttach':
        await this.#attach(kind.value, stream, stop);
        return true;
      case 'containerCall':
        await stream.write({ $case: 'callResult', value: { result: await this.#call(kind.value) } });
        return true;
      default:
        return false;
    }
  }

  async #attach(request: ContainerAttachRequest, stream: FrameStream, stop: AbortController): Promise<void> {
    const { containerId, stdin, stdout, stderr, logs } = request;
    const { runtime } = this.containers.get(containerId);
    // A container of --rm stays until the client has been served to the end of its stream, or has gone.
    stop.signal.addEventListener('abort', this.containers.attach(containerId), { once: true });
    const client = await runtime.attach({ stdout, stderr, history: logs });
    try {
      await stream.write({ $case: 'ready', value: true });
      void this.#takeInput(client, stdin, stream, (size) => runtime.resize(size), stop);
      await sendOutput(client, stream, stop.signal);
    } finally {
      client.close();
    }
  }

  /** Until the manager ends the stream. A client that has gone, or a manager, closes nobody's stdin. */
  async #takeInput(
    client: AttachedClient,
    stdin: boolean,
    stream: FrameStream,
    resize: (size: TerminalSize) => Promise<void>,
    stop: AbortController,
  ): Promise<void> {
    let isOpen = stdin;
    const toStdin = async (work: () => Promise<void>) => {
      try {
        if (isOpen) await work();
      } catch (error) {
        // Its stdin is closed, or it has ended: what comes is thrown away, as by a pipe that nobody reads.
        isOpen = false;
        this.logger.debug({ reason: errorText(error) }, 'a container takes no more input');
      }
    };
    try {
      for await (const body of stream.frames()) {
        if (body.$case === 'data') await toStdin(() => client.write(body.value));
        else if (body.$case === 'end') await toStdin(() => client.endInput());
        else if (body.$case === 'resize') await resize(body.value).catch(() => undefined);
      }
    } catch {
      // The stream broke, which the sender of the output is told of as well.
    }
    stop.abort(new DOMException('the client has gone', 'AbortError'));
    client.close();
  }

  async #call({ containerId, call }: ContainerCallRequest): Promise<Result> {
    const loop = this.containers.get(containerId);
    switch (call?.$case) {
      case 'kill':
        await kill(loop, call.value.signal);
        return DONE;
      case 'resize':
        await loop.runtime.resize(call.value);
        return DONE;
      default:
        throw new ClusterError(
          'unimplemented',
          `this version of the agent cannot answer ${call?.$case ?? 'that'} of a container yet`,
        );
    }
  }
}

const DONE: Result = { $case: 'done', value: {} };

/** Frames of a size that shares a connection well. */
const PIECE_BYTES = 64 * 1024;

async function sendOutput(client: AttachedClient, stream: FrameStream, signal: AbortSignal): Promise<void> {
  for await (const piece of client) {
    signal.throwIfAborted();
    const { buffer, byteOffset, length } = piece.bytes;
    for (let at = 0; at < length; at += PIECE_BYTES) {
      const data = Buffer.from(buffer, byteOffset + at, Math.min(PIECE_BYTES, length - at));
      await stream.write({ $case: 'output', value: { stderr: piece.stream === 'stderr', data } });
    }
  }
}

/** A signal that is its stop signal, or cannot be told from one, keeps it down. Source: moby, daemon/kill.go. */
async function kill(loop: ContainerLoop, signal: number): Promise<void> {
  const { stopSignal = '' } = loop.assignment.container?.spec ?? {};
  const isFinal = stopSignal === '' || signal === SIGKILL || signal === loop.runtime.stopSignal;
  await loop.kill(signal, isFinal);
}

const SIGKILL = 9;
