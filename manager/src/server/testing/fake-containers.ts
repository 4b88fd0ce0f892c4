import { silentLogger, systemClock } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import {
  type Container,
  type ContainerState,
  ContainerState as State,
  VolumeState,
} from '@tessera/shared/model';
import type { Frame } from '@tessera/shared/wire';
import { allocatorLoop } from '../../allocator/index.js';
import { runLoop } from '../../loops/leader-loop.js';
import { nodeOfVolume } from '../../loops/volumes.js';
import { containerReaperLoop, volumeReaperLoop } from '../../orchestrator/index.js';
import { schedulerLoop } from '../../scheduler/index.js';
import type { StreamKind } from '../../streams/index.js';
import type { ApiFixture } from './api-fixture.js';

type Received = AsyncIterable<Frame>;

/**
 * The leader's loops as they are, and agents that answer containers' targets with states as real ones do: each
 * generation once, exits counted, nothing removed before it has ended.
 */
export class FakeContainers {
  readonly #ending = new AbortController();
  readonly #unsubscribe: () => void;
  /** Why starts fail, by container name. */
  readonly startErrors = new Map<string, ClusterError>();
  /** Why creates fail, by container name. */
  readonly createErrors = new Map<string, ClusterError>();
  /** Why updates fail, by container name. */
  readonly updateErrors = new Map<string, ClusterError>();
  /** Plays attach, exec and stats; kill is played here. */
  onStream: (kind: StreamKind, received: Received, nodeId: string) => AsyncIterable<Frame> = () => {
    throw new ClusterError('unavailable', 'nobody plays this stream');
  };
  readonly signals: number[] = [];
  /** What every host leaves out of what it is asked for. */
  warnings: readonly string[] = [];
  #sequence = 0;

  constructor(private readonly fixture: ApiFixture) {
    const { store } = fixture;
    const environment = { store, clock: systemClock, logger: silentLogger, signal: this.#ending.signal };
    for (const loop of [
      allocatorLoop(store),
      schedulerLoop(store, systemClock),
      containerReaperLoop(store, systemClock),
      volumeReaperLoop(store),
    ])
      runLoop(loop, environment);
    this.#unsubscribe = store.subscribe((changes) => {
      const ids = changes.filter(({ kind }) => kind === 'containers' || kind === 'containerPlacements');
      for (const { id } of ids) void this.#settle(id);
      for (const { kind, id } of changes)
        if (kind === 'volumes' || kind === 'volumePlacements') void this.#settleVolume(id);
    });
    fixture.onStream = (nodeId, kind, received) =>
      kind.$case === 'containerCall' && kind.value.call?.$case === 'kill'
        ? this.#kill(kind.value.containerId, kind.value.call.value.signal)
        : this.onStream(kind, received, nodeId);
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
    this.#ending.abort();
  }

  /** A volume is there once it has a node, and goes when that is ordered. */
  async #settleVolume(id: string): Promise<void> {
    await this.fixture.store.update((tx) => {
      const volume = tx.volumes.get(id);
      const nodeId = volume && nodeOfVolume(tx, volume);
      if (!volume || !nodeId || (volume.removing && !volume.ordered)) return;
      const { name, driver, labels, options } = volume;
      const volumeId = volume.nodeId === '' ? id : '';
      tx.put('volumeStates', {
        ...VolumeState.fromPartial({ nodeId, name, volumeId, driver, labels, options }),
        state: volume.ordered ? 'removed' : 'made',
        mountpoint: `/volumes/${name}/_data`,
        sequence: ++this.#sequence,
      });
    });
  }

  /** What the agent says of a container by name, on top of what it said before. */
  async report(name: string, part: Partial<ContainerState>): Promise<void> {
    await this.fixture.store.update((tx) => {
      const container = tx.containers.byName(name);
      if (!container) throw new Error(`no container ${name}`);
      this.#put(tx, container, part);
    });
  }

  /** The container's program ends by itself. */
  async exit(name: string, exitCode: number): Promise<void> {
    const container = this.fixture.store.view().containers.byName(name)!;
    await this.#exit(container.id, exitCode);
  }

  #put(
    tx: Parameters<Parameters<ApiFixture['store']['update']>[0]>[0],
    container: Container,
    part: object,
  ): void {
    const { id } = container;
    const before = tx.containerStates.get(id) ?? State.fromPartial({ containerId: id });
    const { nodeId = '', epoch = 0 } = tx.containerPlacements.get(id) ?? {};
    tx.put('containerStates', { ...before, nodeId, epoch, ...part, sequence: ++this.#sequence });
  }

  async #exit(id: string, exitCode: number): Promise<void> {
    await this.fixture.store.update((tx) => {
      const container = tx.containers.get(id);
      const state = tx.containerStates.get(id);
      if (!container || state?.state !== 'running') return;
      this.#put(tx, container, {
        state: container.host?.autoRemove ? 'removed' : 'exited',
        exitCode,
        exits: state.exits + 1,
        pid: 0,
        finishedAtMs: systemClock.now(),
      });
    });
  }

  async #settle(id: string): Promise<void> {
    await this.fixture.store.update((tx) => {
      const container = tx.containers.get(id);
      if (!container || !tx.containerPlacements.get(id)?.nodeId) return;
      const state = tx.containerStates.get(id) ?? State.fromPartial({ containerId: id });
      if (container.removing) {
        if (state.state !== 'removed') this.#put(tx, container, { state: 'removed' });
        return;
      }
      const generation = container.target?.generation ?? 0;
      if (state.generation < generation)
        this.#put(tx, container, {
          generation,
          warnings: this.warnings,
          ...this.#answer(container, state),
        });
    });
  }

  #answer(container: Container, state: ContainerState): Partial<ContainerState> {
    const isRunning = state.state === 'running';
    const running = {
      state: 'running' as const,
      starts: state.starts + 1,
      pid: 4242,
      startedAtMs: systemClock.now(),
      generationError: '',
      generationErrorKind: '',
    };
    const exited = { state: 'exited' as const, exits: state.exits + 1, exitCode: 143, pid: 0 };
    const refusal = (error: ClusterError | undefined): Partial<ContainerState> => ({
      generationError: error?.message ?? '',
      generationErrorKind: error?.kind ?? '',
    });
    const nothing = refusal(new ClusterError('notModified', ''));
    switch (container.target?.verb) {
      case 'create':
        return refusal(this.createErrors.get(container.name));
      case 'start': {
        const error = this.startErrors.get(container.name);
        if (error) return { ...refusal(error), exitCode: 127, error: error.message };
        return isRunning ? nothing : running;
      }
      case 'stop':
        return isRunning ? { ...refusal(undefined), ...exited, finishedAtMs: systemClock.now() } : nothing;
      case 'restart':
        return { ...running, exits: state.exits + (isRunning ? 1 : 0) };
      case 'pause':
        return isRunning
          ? { ...refusal(undefined), state: 'paused' }
          : refusal(new ClusterError('conflict', `Container ${container.id} is not running`));
      case 'unpause':
        return { ...refusal(undefined), state: 'running' };
      case 'update':
        return refusal(this.updateErrors.get(container.name));
      default:
        return refusal(undefined);
    }
  }

  async *#kill(id: string, signal: number): AsyncGenerator<Frame> {
    const state = this.fixture.store.view().containerStates.get(id);
    if (state?.state !== 'running') throw new ClusterError('conflict', `container ${id} is not running`);
    this.signals.push(signal);
    if (signal === 9) void this.#exit(id, 137);
    yield { body: { $case: 'callResult', value: { result: { $case: 'done', value: {} } } } };
  }
}
