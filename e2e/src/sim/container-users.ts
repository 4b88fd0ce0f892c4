import type { MemoryStore } from '@tessera/manager/store/testing';
import { newHexId, type Random } from '@tessera/shared/env';
import { type Container, ContainerTarget, type ContainerTarget_Verb } from '@tessera/shared/model';
import { aContainer } from '@tessera/shared/testing';

const CONTAINERS_MAX = 30;

/** People with `docker run`: what they ask for is written as the API would write it. */
export class ContainerUsers {
  #count = 0;

  constructor(
    private readonly store: MemoryStore,
    private readonly random: Random,
  ) {}

  /** One thing some user does. */
  async act(): Promise<void> {
    const known = [...this.store.view().containers.all()].filter(({ removing }) => !removing);
    const dice = this.random.next();
    const some = known[Math.floor(this.random.next() * known.length)];
    if (!some || (dice < 0.4 && known.length < CONTAINERS_MAX)) return this.#create();
    if (dice < 0.6) return this.#ask(some, 'start');
    if (dice < 0.7) return this.#ask(some, 'stop');
    if (dice < 0.8) return this.#ask(some, 'restart');
    return this.#remove(some);
  }

  async #create(): Promise<void> {
    const id = newHexId(this.random);
    const name = `container-${++this.#count}`;
    const rescheduleOnNodeFailure = this.random.next() < 0.6;
    // A port of its host for some, so that they keep apart and now and then fit nowhere.
    const ports =
      this.random.next() < 0.3
        ? [
            {
              protocol: 'tcp',
              containerPort: 80,
              hostIp: '',
              hostPort: 8080 + Math.floor(this.random.next() * 2),
            },
          ]
        : [];
    const target = ContainerTarget.fromPartial({
      verb: this.random.next() < 0.8 ? 'start' : 'create',
      generation: 1,
    });
    const restart = { name: 'always' as const, maxRetries: 0 };
    await this.store.update((tx) => {
      tx.takeClaim(`name/container/${name}`, `container/${id}`);
      tx.put(
        'containers',
        aContainer({ id, name, rescheduleOnNodeFailure, target, host: { restart, ports } as never }),
      );
    });
  }

  async #ask({ id }: Container, verb: ContainerTarget_Verb): Promise<void> {
    await this.store.update((tx) => {
      const container = tx.containers.get(id);
      if (!container || container.removing) return;
      const generation = (container.target?.generation ?? 0) + 1;
      tx.put('containers', { ...container, target: ContainerTarget.fromPartial({ verb, generation }) });
    });
  }

  async #remove({ id }: Container): Promise<void> {
    await this.store.update((tx) => {
      const container = tx.containers.get(id);
      if (!container || container.removing) return;
      tx.put('containers', { ...container, removing: true, removeForce: true });
      const claim = `name/container/${container.name}`;
      if (tx.claim(claim) === `container/${id}`) tx.releaseClaim(claim);
    });
  }
}
