import { fillVolume } from '@tessera/native';
import type { Clock, Logger, Random } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { type Volume, VolumeState } from '@tessera/shared/model';
import { localMount } from '@tessera/shared/volumes';
import type { VolumeUsage } from '@tessera/shared/wire';
import { writtenBytes } from '../storage/index.js';
import { LocalMounts } from './local-mounts.js';
import { VolumeDirectory, type VolumeRecord } from './volume-directory.js';

/** A removal that failed is tried again after this. */
const RETRY_MS = 5_000;

/** What a container wants of a volume; it is made if there is none. */
export type VolumeWish = Omit<VolumeRecord, 'createdAtMs'>;

/** Where volumes' states go on their way to a manager. */
export interface VolumeReporter {
  reportVolume(state: VolumeState): void;
}

/** An image's layers, for what a volume is to be filled with. */
export interface ImageTree {
  /** The directory that the layers' names are relative to. */
  readonly base: string;
  /** Top first. */
  readonly layers: readonly string[];
}

export interface VolumesOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/**
 * The volumes of this node, one of each name. What containers need is made when the first of them is created; it is
 * deleted on the cluster's order alone, never because nobody speaks of it.
 */
export class Volumes {
  readonly #records: Map<string, VolumeRecord>;
  readonly #mounts = new LocalMounts();
  /** Ids of the containers here that mount a volume, running or not, by its name. */
  readonly #users = new Map<string, Set<string>>();
  /** What is under way with a volume, by its name: one thing after the other. */
  readonly #turns = new Map<string, Promise<unknown>>();
  #orders: ReadonlyMap<string, Volume> = new Map();
  #cancelRetry: (() => void) | undefined;
  #sequence = 0;
  #nodeId = '';
  #reporter: VolumeReporter | undefined;

  private constructor(
    private readonly directory: VolumeDirectory,
    records: readonly VolumeRecord[],
    private readonly options: VolumesOptions,
  ) {
    this.#records = new Map(records.map((record) => [record.name, record]));
  }

  static async open(options: VolumesOptions): Promise<Volumes> {
    const directory = await VolumeDirectory.open(options.path, options.random, options.logger);
    return new Volumes(directory, await directory.read(), options);
  }

  /** From now on states are reported, as of this node. */
  reportTo(nodeId: string, reporter: VolumeReporter): void {
    this.#nodeId = nodeId;
    this.#reporter = reporter;
  }

  /** Of every volume here: what a session begins with. */
  states(): VolumeState[] {
    return [...this.#records.values()].map((record) => this.#stateOf(record, 'made'));
  }

  /** What containers see of a volume. */
  pathOf(name: string): string {
    return this.directory.dataOf(name);
  }

  /** How much room volumes take; those that are not here are left out. */
  async usages(names: readonly string[], signal: AbortSignal): Promise<VolumeUsage[]> {
    const found: VolumeUsage[] = [];
    for (const name of names.filter((known) => this.#records.has(known)))
      found.push({ name, sizeBytes: await writtenBytes(this.pathOf(name), signal) });
    return found;
  }

  /** Makes a volume if there is none of its name. @throws ClusterError `unavailable` while one is being removed */
  ensure(wish: VolumeWish): Promise<void> {
    return this.#inTurn(wish.name, async () => {
      const here = this.#records.get(wish.name);
      if (here && this.#orderFor(here))
        throw new ClusterError('unavailable', `volume ${wish.name} is still being removed from this node`);
      if (!here) return this.#make(wish);
      // A task takes what its node has.
      if (wish.volumeId === '' || here.volumeId === wish.volumeId) return;
      if (here.volumeId === '') return this.#adopt(here, wish);
      this.options.logger.warn(
        { volume: here.name, 'volume.id': here.volumeId },
        'a volume that the cluster knows no longer is put aside: another one has its name',
      );
      await this.directory.putAside(here);
      this.#records.delete(here.name);
      await this.#make(wish);
    });
  }

  async #make(wish: VolumeWish): Promise<void> {
    localMount(wish.options);
    const record = { ...wish, createdAtMs: this.options.clock.now() };
    await this.directory.make(record);
    this.#put(record);
  }

  /** What services' tasks have used on this node becomes the cluster's volume of that name. */
  async #adopt(here: VolumeRecord, { volumeId, options }: VolumeWish): Promise<void> {
    if (JSON.stringify(localMount(here.options)) !== JSON.stringify(localMount(options)))
      throw new ClusterError(
        'conflict',
        `volume ${here.name} is on this node with other options: remove it, or choose another name`,
      );
    const record = { ...here, volumeId };
    await this.directory.update(record);
    this.#report(here, 'removed');
    this.#put(record);
  }

  #put(record: VolumeRecord): void {
    this.#records.set(record.name, record);
    this.#report(record, 'made');
  }

  /** Gives an empty volume what the image has at `target`. May be repeated after a crash at any point. */
  fill(name: string, image: ImageTree | undefined, target: string, signal: AbortSignal): Promise<void> {
    const { empty } = this.directory;
    const data = this.pathOf(name);
    const source = image && { empty, target, ...image };
    return this.#inTurn(name, async () => {
      const mount = this.#mountOf(name);
      if (!mount) {
        if (await this.directory.needsFill(name, source !== undefined))
          await fillVolume(this.directory.of(name), data, source, signal);
        return;
      }
      const holder = `fill ${target}`;
      await this.#mounts.hold(data, mount, holder);
      try {
        await fillVolume(data, data, source, signal);
      } finally {
        await this.#mounts.letGo(data, holder);
      }
    });
  }

  /** A container has this volume, from its creation to its removal: it cannot go meanwhile. */
  use(name: string, containerId: string): void {
    const users = this.#users.get(name) ?? new Set();
    this.#users.set(name, users.add(containerId));
  }

  /** A container is gone. */
  release(containerId: string): void {
    for (const [name, users] of this.#users)
      if (users.delete(containerId) && users.size === 0) this.#users.delete(name);
    this.#carryOut();
  }

  /** A container is about to run, or is found running: what is a mount of its own is there from now on. */
  async hold(names: readonly string[], containerId: string): Promise<void> {
    for (const name of names) {
      const mount = this.#mountOf(name);
      if (mount) await this.#inTurn(name, () => this.#mounts.hold(this.pathOf(name), mount, containerId));
    }
  }

  /** It has ended. */
  async letGo(names: readonly string[], containerId: string): Promise<void> {
    for (const name of names)
      if (this.#mountOf(name))
        await this.#inTurn(name, () => this.#mounts.letGo(this.pathOf(name), containerId));
  }

  /** Once the containers that run have said what they hold. */
  async settle(): Promise<void> {
    for (const name of this.#records.keys())
      if (this.#mountOf(name)) await this.#inTurn(name, () => this.#mounts.settle(this.pathOf(name)));
  }

  /** Removes a volume that nobody will ask for again: one of a task that is gone. */
  async discard(name: string): Promise<void> {
    await this.#inTurn(name, () => this.#remove(name));
  }

  /** What the cluster wants removed from this node; each is reported once it is gone. */
  apply(orders: ReadonlyMap<string, Volume>): void {
    this.#orders = orders;
    this.#carryOut();
  }

  #carryOut(): void {
    for (const order of this.#orders.values())
      void this.#inTurn(order.name, () => this.#obey(order)).catch((error: unknown) => {
        this.options.logger.error({ error, volume: order.name }, 'a volume cannot be removed; trying again');
        this.#retry();
      });
  }

  /** Once, however many orders have failed. */
  #retry(): void {
    this.#cancelRetry ??= this.options.clock.after(RETRY_MS, () => {
      this.#cancelRetry = undefined;
      this.#carryOut();
    });
  }

  async #obey(order: Volume): Promise<void> {
    if (!this.#orders.has(order.id)) return;
    const here = this.#records.get(order.name);
    if (here && isMeant(order, here)) {
      // Looked at again when its last container has gone.
      if (this.#users.has(order.name)) return;
      return this.#remove(order.name);
    }
    const volumeId = order.nodeId === '' ? order.id : '';
    const absent = { ...order, volumeId, createdAtMs: 0 };
    this.#report(absent, 'removed');
  }

  async #remove(name: string): Promise<void> {
    const record = this.#records.get(name);
    if (!record) return;
    await this.#mounts.settle(this.pathOf(name));
    await this.directory.discard(name);
    this.#records.delete(name);
    this.#report(record, 'removed');
  }

  #orderFor(here: VolumeRecord): Volume | undefined {
    return [...this.#orders.values()].find((order) => order.name === here.name && isMeant(order, here));
  }

  #mountOf(name: string) {
    const record = this.#records.get(name);
    return record && localMount(record.options);
  }

  #inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(name) ?? Promise.resolve();
    const mine = before.then(work, work);
    const settled = mine
      .catch(() => undefined)
      .then(() => {
        if (this.#turns.get(name) === settled) this.#turns.delete(name);
      });
    this.#turns.set(name, settled);
    return mine;
  }

  #report(record: VolumeRecord, state: VolumeState['state']): void {
    this.#reporter?.reportVolume(this.#stateOf(record, state));
  }

  #stateOf(record: VolumeRecord, state: VolumeState['state']): VolumeState {
    // By the clock, so that what the next agent says counts as newer.
    this.#sequence = Math.max(this.#sequence + 1, this.options.clock.now());
    const { name, volumeId, driver, labels, options, createdAtMs } = record;
    return VolumeState.create({
      nodeId: this.#nodeId,
      name,
      volumeId,
      state,
      driver,
      labels: { ...labels },
      options: { ...options },
      createdAtMs,
      mountpoint: this.pathOf(name),
      sequence: this.#sequence,
    });
  }
}

/** An order for what a node has for itself goes by the name. */
const isMeant = ({ id, nodeId }: Volume, { volumeId }: VolumeRecord): boolean =>
  volumeId === id || (nodeId !== '' && volumeId === '');
