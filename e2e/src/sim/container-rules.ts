import type { Change, View } from '@tessera/manager/store';
import type { SimAgent } from './sim-agent.js';

export interface ContainerRulesOptions {
  readonly agents: ReadonlyMap<string, SimAgent>;
  /** Whether a node has been reachable for so long that it knows all it is to know, and did it. */
  readonly isSettled: (nodeId: string) => boolean;
  /** Whether it has been for so long that it has been told. */
  readonly isInformed: (nodeId: string) => boolean;
  readonly onBroken: (what: string) => void;
}

/** What must hold at every step of containers that are no task's. */
export class ContainerRules {
  constructor(private readonly options: ContainerRulesOptions) {}

  /** Called when one begins to run on a host. */
  onStart(id: string, nodeId: string): void {
    if (!this.options.isInformed(nodeId)) return;
    for (const [other, agent] of this.options.agents)
      if (other !== nodeId && this.options.isSettled(other) && agent.hostContainers.isRunning(id))
        this.options.onBroken(`container ${id} starts on ${nodeId} while it runs on ${other}`);
  }

  onChange(change: Change, view: View): void {
    switch (change.kind) {
      case 'containers':
        this.#onContainer(change as Change<'containers'>, view);
        break;
      case 'containerPlacements':
        this.#onPlacement(change as Change<'containerPlacements'>, view);
        break;
      case 'containerStates':
        this.#onState(change as Change<'containerStates'>, view);
        break;
    }
  }

  #onContainer({ id, before, after }: Change<'containers'>, view: View): void {
    if (after && !after.removing && !before)
      for (const other of view.containers.all())
        if (other.id !== id && !other.removing && other.name === after.name)
          this.options.onBroken(`containers ${id} and ${other.id} are both named ${after.name}`);
    if (before?.removing && after && !after.removing)
      this.options.onBroken(`container ${id} was being removed, and is no longer`);
  }

  #onPlacement({ id, before, after }: Change<'containerPlacements'>, view: View): void {
    if (!before?.nodeId || !after) return;
    if (after.epoch < before.epoch)
      this.options.onBroken(`container ${id} goes back to epoch ${after.epoch}`);
    if (after.nodeId === before.nodeId && after.epoch === before.epoch) return;
    if (!view.containers.get(id)?.rescheduleOnNodeFailure)
      this.options.onBroken(`container ${id} moves from ${before.nodeId}, and nobody asked for that`);
    if (after.epoch !== before.epoch + 1)
      this.options.onBroken(
        `container ${id} moves to ${after.nodeId} in epoch ${after.epoch} after ${before.epoch}`,
      );
  }

  #onState({ id, before, after }: Change<'containerStates'>, view: View): void {
    if (after && !view.containers.get(id))
      this.options.onBroken(`a state of container ${id}, which is no more`);
    if (!before || !after) return;
    for (const counter of ['epoch', 'sequence', 'generation', 'starts', 'exits'] as const)
      if (after[counter] < before[counter])
        this.options.onBroken(
          `container ${id} goes back in ${counter}: ${before[counter]}, then ${after[counter]}`,
        );
    if (before.state === 'removed')
      this.options.onBroken(`container ${id} was removed, and is ${after.state}`);
    if (after.starts - after.exits > 1 || after.exits > after.starts)
      this.options.onBroken(`container ${id} has started ${after.starts} and ended ${after.exits} times`);
  }
}

/** What is not yet as it should be once nothing breaks any more and nobody asks for anything. */
export function* unsettledContainers(view: View, agents: ReadonlyMap<string, SimAgent>): Iterable<string> {
  for (const { id, name, removing, target, rescheduleOnNodeFailure } of view.containers.all()) {
    const placement = view.containerPlacements.get(id);
    const node = view.nodes.get(placement?.nodeId ?? '');
    const state = view.containerStates.get(id);
    if (!placement?.nodeId) {
      yield `container ${name} is placed nowhere and still there`;
      continue;
    }
    // Its node has left the cluster for good, and it may not move: that is as it is.
    if (!node && !removing && !rescheduleOnNodeFailure) continue;
    if (removing) yield `container ${name} is still being removed`;
    else if (placement.moving && placement.pendingReason === '') yield `container ${name} still moves`;
    else if (placement.moving) continue;
    else if (state?.epoch !== placement.epoch)
      yield `container ${name} is not heard of on ${placement.nodeId}`;
    else if (state.generation !== target?.generation)
      yield `container ${name} has not answered ${target?.verb}`;
    else if ((target.verb === 'start' || target.verb === 'restart') && state.state !== 'running')
      yield `container ${name} is ${state.state} after ${target.verb}`;
  }
  for (const [nodeId, agent] of agents)
    for (const id of agent.isOn && !agent.isDisowned ? agent.hostContainers.runningIds : [])
      if (view.containerPlacements.get(id)?.nodeId !== nodeId)
        yield `a copy of container ${id} runs on ${nodeId}`;
  for (const table of [view.containerPlacements.all(), view.containerStates.all()])
    for (const { containerId } of table)
      if (!view.containers.get(containerId)) yield `something of container ${containerId} is left over`;
}
