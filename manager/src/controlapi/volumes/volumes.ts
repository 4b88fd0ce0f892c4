import { newHexId, newId, type Random } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { Volume } from '@tessera/shared/model';
import { ANONYMOUS_LABEL, assertVolumeName, localMount } from '@tessera/shared/volumes';
import { stateOfVolume, usersOf, volumeClaim, volumeOwner } from '../../loops/volumes.js';
import type { Transaction, View } from '../../store/view.js';
import { whyUnreachable } from '../containers/lookup.js';
import { until } from '../containers/until.js';
import type { ControlContext } from '../ports.js';
import { allVolumes, getVolume, type KnownVolume, nameOfNode, usersOfVolume } from './lookup.js';

export const LOCAL_DRIVER = 'local';

/** How long a removal waits for the node that has the volume. */
const REMOVAL_MAX_MS = 60_000;

/** A volume as its user wants it. An empty name asks for one. */
export type WantedVolume = Pick<Volume, 'name' | 'driver' | 'labels' | 'options'>;

/** What may be asked of volumes. */
export class Volumes {
  readonly #context: ControlContext;

  constructor(context: ControlContext) {
    this.#context = context;
  }

  async list(): Promise<readonly KnownVolume[]> {
    return allVolumes(await this.#context.store.read());
  }

  async inspect(reference: string): Promise<KnownVolume> {
    return getVolume(await this.#context.store.read(), reference);
  }

  /**
   * Makes a volume, which gets its node with the first container that names it. One of that name that is there already is
   * the answer, as with Docker.
   */
  async create(wanted: WantedVolume): Promise<KnownVolume> {
    const { store, random } = this.#context;
    const name = wanted.name || newHexId(random);
    assertDriver(name, wanted.driver);
    assertVolumeName(name);
    await store.read();
    await store.update((tx) => {
      if (tx.claim(volumeClaim(name)) !== undefined) return;
      makeVolume(tx, { ...wanted, name, anonymous: wanted.name === '' }, random);
    });
    return getVolume(await store.read(), name);
  }

  /**
   * Removes a volume with its content. Answers when its node has done it.
   *
   * @param force one whose node is away goes when the node is back; what there is not is fine
   * @throws ClusterError `conflict` while a container has it
   */
  async remove(reference: string, force: boolean, signal: AbortSignal): Promise<void> {
    const { store, clock } = this.#context;
    const known = getVolume(await store.read(signal), reference);
    assertUnused(known);
    const away = known.nodeId === '' ? undefined : whyUnreachable(known.view, known.nodeId);
    if (away && !force && known.view.nodes.get(known.nodeId))
      throw new ClusterError(
        'unavailable',
        `remove ${reference}: node ${nameOfNode(known.view, known.nodeId)}, which has the volume, cannot be reached; --force removes it once it is back`,
      );
    const id = await this.#order(known);
    if (away) return;
    const message = `remove ${reference}: its node has not answered within ${REMOVAL_MAX_MS / 1_000} s; it goes when it does`;
    await until(store, signal, (view) => isGone(view, id), { clock, ms: REMOVAL_MAX_MS, message });
  }

  /** Marks it, looks once more whether somebody has taken it into use, and lets its node know. @returns its id */
  async #order(known: KnownVolume): Promise<string> {
    const { store, random } = this.#context;
    const id = await store.update((tx) => markRemoving(tx, known, random));
    // A container may have been created between our look and the mark; from the mark on, none can be.
    const view = await store.read();
    const users = usersOf(view, id, known.name, known.nodeId);
    await store.update((tx) => (users.length === 0 ? order(tx, id) : unmark(tx, id)));
    if (users.length > 0) throw inUse(known.label, users);
    return id;
  }

  /** Removes what nobody uses and `matches`. @returns those that are gone */
  async prune(matches: (volume: KnownVolume) => boolean, signal: AbortSignal): Promise<KnownVolume[]> {
    const unused = (await this.list()).filter((one) => usersOfVolume(one).length === 0 && matches(one));
    const gone = await Promise.all(
      unused.map(async (one) => {
        try {
          await this.remove(one.label, false, signal);
          return [one];
        } catch (error) {
          // Taken into use, or removed by someone else, since we looked; or its node cannot be reached.
          if (error instanceof ClusterError && PRUNE_SKIPS.has(error.kind)) return [];
          throw error;
        }
      }),
    );
    return gone.flat();
  }
}

const PRUNE_SKIPS = new Set([
  'conflict',
  'notFound',
  'unavailable',
  'deadlineExceeded',
  'failedPrecondition',
]);

/** @throws ClusterError `notFound` in Docker's words: there are no plugins */
export function assertDriver(name: string, driver: string): void {
  if (driver !== '' && driver !== LOCAL_DRIVER)
    throw new ClusterError(
      'notFound',
      `create ${name}: error looking up volume plugin ${driver}: plugin "${driver}" not found`,
    );
}

/** A new volume of the cluster, with the claim to its name. @throws ClusterError `alreadyExists` */
export function makeVolume(
  tx: Transaction,
  wanted: WantedVolume & Partial<Pick<Volume, 'anonymous' | 'containerId'>>,
  random: Random,
): Volume {
  const { name, labels, options, anonymous = false, containerId = '' } = wanted;
  try {
    localMount(options);
  } catch (error) {
    throw new ClusterError('invalidArgument', `create ${name}: ${(error as Error).message}`);
  }
  const id = newId(random);
  const volume = Volume.fromPartial({
    id,
    name,
    driver: LOCAL_DRIVER,
    labels: anonymous ? { ...labels, [ANONYMOUS_LABEL]: '' } : labels,
    options,
    anonymous,
    containerId,
  });
  tx.takeClaim(volumeClaim(name), volumeOwner(id));
  tx.put('volumes', volume);
  return volume;
}

function assertUnused(known: KnownVolume): void {
  const users = usersOfVolume(known);
  if (users.length > 0) throw inUse(known.label, users);
}

const inUse = (label: string, users: readonly string[]): ClusterError =>
  new ClusterError('conflict', `remove ${label}: volume is in use - [${users.join(', ')}]`);

/** What a node has for itself gets an object for as long as its removal takes. */
function markRemoving(tx: Transaction, known: KnownVolume, random: Random): string {
  const { name, nodeId, state } = known;
  const volume = known.volume && tx.volumes.get(known.volume.id);
  if (!volume) {
    // One that the cluster has forgotten goes by the id that its node knows.
    const id = state?.volumeId || newId(random);
    tx.put('volumes', Volume.fromPartial({ id, name, nodeId, removing: true }));
    return id;
  }
  tx.put('volumes', { ...volume, removing: true });
  releaseName(tx, volume);
  return volume.id;
}

function order(tx: Transaction, id: string): void {
  const volume = tx.volumes.get(id);
  if (volume?.removing) tx.put('volumes', { ...volume, ordered: true });
}

function unmark(tx: Transaction, id: string): void {
  const volume = tx.volumes.get(id);
  if (!volume) return;
  if (volume.nodeId !== '') {
    tx.delete('volumes', id);
    return;
  }
  tx.put('volumes', { ...volume, removing: false });
  if (tx.claim(volumeClaim(volume.name)) === undefined)
    tx.takeClaim(volumeClaim(volume.name), volumeOwner(id));
}

function releaseName(tx: Transaction, { id, name }: Volume): void {
  if (tx.claim(volumeClaim(name)) === volumeOwner(id)) tx.releaseClaim(volumeClaim(name));
}

/** @throws ClusterError what its node says */
function isGone(view: View, id: string): true | undefined {
  const volume = view.volumes.get(id);
  if (!volume) return true;
  const error = stateOfVolume(view, volume)?.error;
  if (error) throw new ClusterError('internal', error);
  return undefined;
}
