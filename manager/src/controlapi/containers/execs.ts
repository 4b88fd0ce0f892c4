import { ClusterError } from '@tessera/shared/errors';
import type { Container } from '@tessera/shared/model';
import { type ExecCreateCall, type ExecState, type Frame, ResizeCall } from '@tessera/shared/wire';
import type { View } from '../../store/view.js';
import type { SideStream } from '../../streams/index.js';
import type { ControlContext } from '../ports.js';
import type { ContainerCalls } from './calls.js';
import { lookAt } from './look.js';
import { getContainer, type KnownContainer, known } from './lookup.js';

/** The digits of an exec's id that are its container's, and those that are chance. */
const CONTAINER_DIGITS = 32;
const CHANCE_BYTES = 16;
const EXEC_ID = /^[0-9a-f]{64}$/;
const REMEMBERED_MAX = 256;

interface EndedExec {
  readonly state: ExecState;
  readonly container: Container;
}

/**
 * Commands run in containers. An exec's id begins with its container's, so that any manager finds the node that has it,
 * and nothing needs to be stored.
 */
export class ExecCalls {
  readonly #context: ControlContext;
  /** Ends that this manager has passed on: a container that goes by itself takes its execs along. */
  readonly #ended = new Map<string, EndedExec>();

  constructor(
    context: ControlContext,
    private readonly calls: ContainerCalls,
  ) {
    this.#context = context;
  }

  /** @returns the exec's id. @throws ClusterError `conflict` when the container does not run */
  async create(
    reference: string,
    spec: Omit<ExecCreateCall, 'execId'>,
    signal: AbortSignal,
  ): Promise<string> {
    const { store, random } = this.#context;
    const look = (view: View) => {
      const found = known(view, getContainer(view, reference));
      assertRunning(found, reference);
      return found;
    };
    const one = await lookAt(store, reference, look, signal);
    const { id } = one.container;
    const execId = id.slice(0, CONTAINER_DIGITS) + random.bytes(CHANCE_BYTES).toString('hex');
    await this.calls.call(one, { $case: 'execCreate', value: { execId, ...spec } }, 'done', signal);
    return execId;
  }

  /** A stream on which the command's output comes, and stdin goes. */
  async start(
    execId: string,
    order: { readonly detach: boolean; readonly rows: number; readonly columns: number },
    signal: AbortSignal,
  ): Promise<SideStream> {
    const one = await this.#owner(execId, signal);
    const value = { containerId: one.container.id, execId, ...order };
    const stream = await this.calls.open(one, { $case: 'execStart', value }, signal);
    const remember = (state: ExecState) => this.#remember(execId, { state, container: one.container });
    return {
      isLocal: stream.isLocal,
      frames: noting(stream.frames, remember),
      write: (frame) => stream.write(frame),
      end: () => stream.end(),
      close: (error) => stream.close(error),
    };
  }

  /** @throws ClusterError `notFound` */
  async inspect(execId: string, signal: AbortSignal): Promise<EndedExec> {
    try {
      const one = await this.#owner(execId, signal);
      const state = await this.calls.call(one, { $case: 'execInspect', value: { execId } }, 'exec', signal);
      return { state, container: one.container };
    } catch (error) {
      const ended = this.#ended.get(execId);
      if (ended && error instanceof ClusterError && error.kind === 'notFound') return ended;
      throw error;
    }
  }

  /** The client asks at once, and of this manager: a few are enough. */
  #remember(execId: string, ended: EndedExec): void {
    this.#ended.set(execId, ended);
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > REMEMBERED_MAX && oldest !== undefined) this.#ended.delete(oldest);
  }

  async resize(
    execId: string,
    size: { readonly rows: number; readonly columns: number },
    signal: AbortSignal,
  ): Promise<void> {
    const one = await this.#owner(execId, signal);
    const value = ResizeCall.fromPartial({ ...size, execId });
    await this.calls.call(one, { $case: 'execResize', value }, 'done', signal);
  }

  #owner(execId: string, signal: AbortSignal): Promise<KnownContainer> {
    const digits = execId.slice(0, CONTAINER_DIGITS);
    const look = (view: View) => {
      const container = EXEC_ID.test(execId)
        ? [...view.containers.all()].find(({ id }) => id.startsWith(digits))
        : undefined;
      if (!container) throw new ClusterError('notFound', `No such exec instance: ${execId}`);
      return known(view, container);
    };
    return lookAt(this.#context.store, execId, look, signal);
  }
}

/** Source: moby daemon/exec.go. */
function assertRunning({ container: { id }, state }: KnownContainer, reference: string): void {
  if (state.state === 'paused')
    throw new ClusterError('conflict', `Container ${reference} is paused, unpause the container before exec`);
  if (state.state === 'restarting')
    throw new ClusterError('conflict', `Container ${id} is restarting, wait until the container is running`);
  if (state.state !== 'running') throw new ClusterError('conflict', `container ${id} is not running`);
}

/** The same frames; what the last says of the exec's end is noted before the stream ends. */
async function* noting(
  frames: AsyncIterable<Frame>,
  note: (state: ExecState) => void,
): AsyncGenerator<Frame> {
  for await (const frame of frames) {
    if (frame.body?.$case === 'execEnded') note(frame.body.value);
    yield frame;
  }
}
