import type { Random } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import type { ContainerLabels } from '../../../../containers/runtime.js';
import { CATEGORY_COUNT, levelOf, parseContext, UNCONFINED_LEVEL } from './context.js';
import { type LabelledContainer, labelOptions, labelsOf } from './label-options.js';
import type { Selinux } from './policy.js';

/** Of half a million levels; a host with so many containers has other worries. */
const DRAWS_MAX = 100_000;

/**
 * The labels of the containers on this host: no two are given the same level, unless they ask for it. What containers have
 * lies in their own records; here is what an agent has read of them.
 */
export class SelinuxLabels {
  /** By container. */
  readonly #held = new Map<string, ContainerLabels>();

  constructor(
    private readonly selinux: Selinux,
    private readonly random: Random,
  ) {}

  /**
   * The labels of a new container, from now on its own; undefined where there are none.
   *
   * @throws ClusterError for options that cannot be honoured
   */
  assign(containerId: string, container: LabelledContainer): ContainerLabels | undefined {
    const { selinux } = this;
    if (selinux.kind === 'unusable') refuse(container.asked, selinux.reason);
    if (selinux.kind !== 'on') return undefined;
    const labels = labelsOf(selinux, labelOptions(container), () => this.#draw());
    this.#held.set(containerId, labels);
    return labels;
  }

  /** Those that a container has from an earlier agent. */
  hold(containerId: string, labels: ContainerLabels | undefined): void {
    if (labels) this.#held.set(containerId, labels);
  }

  /** May be repeated. */
  release(containerId: string): void {
    this.#held.delete(containerId);
  }

  #draw(): string {
    const taken = new Set<string | undefined>([UNCONFINED_LEVEL]);
    for (const { process, mount } of this.#held.values())
      for (const label of [process, mount]) taken.add(parseContext(label)?.level);
    for (let draws = 0; draws < DRAWS_MAX; draws++) {
      const [a, b] = [this.#category(), this.#category()];
      const level = levelOf(a, b);
      if (a !== b && !taken.has(level)) return level;
    }
    throw new ClusterError('resourceExhausted', 'no SELinux level is left on this node: remove containers');
  }

  #category(): number {
    return Math.floor(this.random.next() * CATEGORY_COUNT);
  }
}

/** Nothing is ignored in silence where the kernel has labels and none can be set. */
function refuse(asked: readonly string[], reason: string): void {
  const option = asked.find((each) => each !== 'disable');
  if (option === undefined) return;
  throw new ClusterError(
    'unimplemented',
    `HostConfig.SecurityOpt: "label=${option}" cannot be honoured on this node: ${reason}; leave it out, or install a policy with containers, such as container-selinux`,
  );
}
