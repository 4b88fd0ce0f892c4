import type {
  Cluster,
  Container,
  ContainerPlacement,
  ContainerState,
  Image,
  ImagePlacement,
  Journal,
  Network,
  NetworkStatus,
  Node,
  NodeStatus,
  Service,
  ServiceStatus,
  Session,
  SpecVersion,
  Task,
  TaskSpec,
  TaskStatus,
  Volume,
  VolumePlacement,
  VolumeState,
} from '@tessera/shared/model';

/** Every kind of object the store holds, by the name of its table and of its key's directory. */
export interface Objects {
  cluster: Cluster;
  nodes: Node;
  nodeStatuses: NodeStatus;
  services: Service;
  serviceStatuses: ServiceStatus;
  specs: SpecVersion;
  tasks: Task;
  taskStatuses: TaskStatus;
  networks: Network;
  networkStatuses: NetworkStatus;
  images: Image;
  imagePlacements: ImagePlacement;
  containers: Container;
  containerPlacements: ContainerPlacement;
  containerStates: ContainerState;
  volumes: Volume;
  volumePlacements: VolumePlacement;
  volumeStates: VolumeState;
  sessions: Session;
  journals: Journal;
}
export type Kind = keyof Objects;

/** The objects of one kind. Iteration order is by id, so that decisions do not depend on map order. */
export interface Table<T> {
  get(id: string): T | undefined;
  all(): Iterable<T>;
  readonly size: number;
}
export interface TaskTable extends Table<Task> {
  byService(serviceId: string): readonly Task[];
  byNode(nodeId: string): readonly Task[];
}
export interface PlacementTable extends Table<ContainerPlacement> {
  byNode(nodeId: string): readonly ContainerPlacement[];
}
export interface VolumeStateTable extends Table<VolumeState> {
  byNode(nodeId: string): readonly VolumeState[];
}
export interface NamedTable<T> extends Table<T> {
  /** The object whose name is exactly this. Names are unique by their claim. */
  byName(name: string): T | undefined;
}
export interface ImageTable extends Table<Image> {
  /** By normalised name with tag, `docker.io/library/busybox:latest`. */
  byName(name: string): Image | undefined;
}

/**
 * A consistent picture of the cluster at one revision.
 *
 * It is live: revisions are applied between the turns of the event loop. Read it without awaiting and it is
 * one revision throughout; after an `await` it may show a later one, so ask for it again (`store.view()`) and
 * keep only ids and objects, which never change. A list from `all()` or an index stays as it was handed out.
 * An object's `meta.index` is etcd's revision of its key's last write: it grows with each write of that key, and
 * stays while others are written.
 */
export interface View {
  /** etcd's revision this picture shows. */
  readonly revision: number;
  /** The manager that leads, by its id; undefined while none does. */
  readonly leaderId: string | undefined;
  /** Undefined until the cluster is initialised. */
  readonly cluster: Cluster | undefined;
  readonly nodes: Table<Node>;
  readonly nodeStatuses: Table<NodeStatus>;
  readonly services: NamedTable<Service>;
  readonly serviceStatuses: Table<ServiceStatus>;
  /** Ids are `<service id>/<version>`. */
  readonly specs: Table<SpecVersion>;
  readonly tasks: TaskTable;
  readonly taskStatuses: Table<TaskStatus>;
  readonly networks: NamedTable<Network>;
  readonly networkStatuses: Table<NetworkStatus>;
  readonly images: ImageTable;
  readonly imagePlacements: Table<ImagePlacement>;
  readonly containers: NamedTable<Container>;
  /** Ids of these two are container ids. */
  readonly containerPlacements: PlacementTable;
  readonly containerStates: Table<ContainerState>;
  readonly volumes: NamedTable<Volume>;
  /** Ids are volume ids. */
  readonly volumePlacements: Table<VolumePlacement>;
  /** Ids are `<node id>/<volume id, or ->/<volume name>`. */
  readonly volumeStates: VolumeStateTable;
  /** Ids are node ids. */
  readonly sessions: Table<Session>;
  readonly journals: Table<Journal>;
  /** The template a task was made from. It exists as long as the task does. */
  specOf(task: Task): TaskSpec;
  /** The owner recorded under a claim key, such as `name/service/web` or `ip/<network>/10.0.1.5`. */
  claim(key: string): string | undefined;
}

/** One all-or-nothing change, decided on a view; reads see the changes made so far. */
export interface Transaction extends View {
  /**
   * Writes an object. Its id decides the key. Sessions are put under this manager's lease. The store keeps
   * `meta` (times and index); a put that would change nothing else writes nothing.
   */
  put<K extends Kind>(kind: K, object: Objects[K]): void;
  delete(kind: Kind, id: string): void;
  /** The commit holds only if this object is still as this transaction saw it (absent counts). */
  require(kind: Kind, id: string): void;
  /**
   * Takes a cluster-wide unique thing. Taking what one already owns changes nothing.
   * @throws ClusterError `alreadyExists` when another owner holds it
   */
  takeClaim(key: string, owner: string): void;
  releaseClaim(key: string): void;
}

/** What changed in one revision, as the cache applied it. */
export interface Change<K extends Kind = Kind> {
  readonly kind: K;
  readonly id: string;
  readonly before: Objects[K] | undefined;
  readonly after: Objects[K] | undefined;
}

/** Reads and writes of the cluster's state. The leader's loops hold one fenced by the election key. */
export interface Store {
  /** The latest picture this manager has. Never waits; loops use it because they look again. */
  view(): View;
  /** A picture no older than now: waits until the cache has reached etcd's revision at the time of the call. */
  read(signal?: AbortSignal): Promise<View>;
  /**
   * Runs `body` on a consistent picture and commits what it changed, all or nothing. It may run again on
   * fresher state, so it decides and writes, with no I/O. At most 126 keys are written or required, claims
   * included: a larger plan is applied in pieces, each right on its own.
   *
   * @throws ClusterError `aborted` when every attempt lost to another writer, `unavailable` when etcd is
   *   away or (fenced) this manager no longer leads, `resourceExhausted` when it is too large, and whatever
   *   `body` throws.
   */
  update<T>(body: (tx: Transaction) => T): Promise<T>;
  /** Calls `handler` after each revision has been applied, in order; the returned function ends it. */
  subscribe(handler: (changes: readonly Change[], view: View) => void): () => void;
}
