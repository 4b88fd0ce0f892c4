import type {
  Container,
  ContainerPlacement,
  Image,
  Network,
  Service,
  Task,
  Volume,
  VolumeState,
} from '@tessera/shared/model';
import { ALL_KINDS, idOf } from './kinds.js';
import { type Entry, GroupIndex, SortedTable } from './table.js';
import type { Kind, NamedTable, Objects, PlacementTable, TaskTable, VolumeStateTable } from './view.js';

/** One kind's objects and what the store remembers of their keys. */
export class KindTable<K extends Kind> extends SortedTable<Objects[K]> {
  readonly #entries = new Map<string, Entry<Objects[K]>>();

  constructor(
    readonly kind: K,
    private readonly indexes: readonly GroupIndex<Objects[K]>[] = [],
  ) {
    super((object) => idOf(kind, object));
  }

  entry(id: string): Entry<Objects[K]> | undefined {
    return this.#entries.get(id);
  }

  ids(): Iterable<string> {
    return this.#entries.keys();
  }

  /** Writes or, without an entry, removes the object at a key's id. @returns what was there before */
  apply(id: string, entry: Entry<Objects[K]> | undefined): Objects[K] | undefined {
    const before = this.#entries.get(id)?.object;
    for (const index of this.indexes) index.change(before, entry?.object);
    if (before) this.#leave(before, entry?.object);
    if (entry) {
      this.#entries.set(id, entry);
      this.set(entry.object);
    } else {
      this.#entries.delete(id);
    }
    return before;
  }

  /** The one cluster's key does not name its id, so a put may change it. */
  #leave(before: Objects[K], after: Objects[K] | undefined): void {
    const id = idOf(this.kind, before);
    if (!after || idOf(this.kind, after) !== id) this.delete(id);
  }
}

export class Tasks extends KindTable<'tasks'> implements TaskTable {
  readonly #byService: GroupIndex<Task>;
  readonly #byNode: GroupIndex<Task>;

  constructor() {
    const byService = new GroupIndex<Task>(taskId, (task) => [task.serviceId]);
    const byNode = new GroupIndex<Task>(taskId, (task) => [task.nodeId]);
    super('tasks', [byService, byNode]);
    this.#byService = byService;
    this.#byNode = byNode;
  }

  byService(serviceId: string): readonly Task[] {
    return this.#byService.find(serviceId);
  }

  byNode(nodeId: string): readonly Task[] {
    return this.#byNode.find(nodeId);
  }
}
const taskId = ({ id }: Task): string => id;

export class Placements extends KindTable<'containerPlacements'> implements PlacementTable {
  readonly #byNode: GroupIndex<ContainerPlacement>;

  constructor() {
    const byNode = new GroupIndex<ContainerPlacement>(
      ({ containerId }) => containerId,
      ({ nodeId }) => [nodeId],
    );
    super('containerPlacements', [byNode]);
    this.#byNode = byNode;
  }

  byNode(nodeId: string): readonly ContainerPlacement[] {
    return this.#byNode.find(nodeId);
  }
}

export class VolumeStates extends KindTable<'volumeStates'> implements VolumeStateTable {
  readonly #byNode: GroupIndex<VolumeState>;

  constructor() {
    const byNode = new GroupIndex<VolumeState>(
      (state) => idOf('volumeStates', state),
      ({ nodeId }) => [nodeId],
    );
    super('volumeStates', [byNode]);
    this.#byNode = byNode;
  }

  byNode(nodeId: string): readonly VolumeState[] {
    return this.#byNode.find(nodeId);
  }
}

export type NamedKind = 'services' | 'networks' | 'images' | 'containers' | 'volumes';

export class Named<K extends NamedKind> extends KindTable<K> implements NamedTable<Objects[K]> {
  readonly #byName: GroupIndex<Objects[K]>;

  constructor(kind: K, namesOf: (object: Objects[K]) => readonly string[]) {
    const byName = new GroupIndex<Objects[K]>((object) => idOf(kind, object), namesOf);
    super(kind, [byName]);
    this.#byName = byName;
  }

  byName(name: string): Objects[K] | undefined {
    return this.allByName(name)[0];
  }

  /** More than one only where a name was not claimed. */
  allByName(name: string): readonly Objects[K][] {
    return this.#byName.find(name);
  }
}

/** The names an object is found by. */
export const serviceNames = ({ spec }: Service): readonly string[] => [spec?.name ?? ''];
export const networkNames = ({ spec }: Network): readonly string[] => [spec?.name ?? ''];
export const imageNames = ({ names }: Image): readonly string[] => names;
export const containerNames = ({ name }: Container): readonly string[] => [name];
export const volumeNames = ({ name }: Volume): readonly string[] => [name];

export type Tables = { readonly [K in Kind]: KindTable<K> } & {
  readonly tasks: Tasks;
  readonly services: Named<'services'>;
  readonly networks: Named<'networks'>;
  readonly images: Named<'images'>;
  readonly containers: Named<'containers'>;
  readonly containerPlacements: Placements;
  readonly volumes: Named<'volumes'>;
  readonly volumeStates: VolumeStates;
};

export function createTables(): Tables {
  return {
    ...(Object.fromEntries(ALL_KINDS.map((kind) => [kind, new KindTable(kind)])) as unknown as Tables),
    tasks: new Tasks(),
    services: new Named('services', serviceNames),
    networks: new Named('networks', networkNames),
    images: new Named('images', imageNames),
    containers: new Named('containers', containerNames),
    containerPlacements: new Placements(),
    volumes: new Named('volumes', volumeNames),
    volumeStates: new VolumeStates(),
  };
}
