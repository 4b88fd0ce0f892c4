import type { ImageStore } from '../../image/image-store.js';
import type { ContainerNetwork, NetworkFiles } from '../../network/container-network.js';
import type { Volumes } from '../../volumes/index.js';
import type { Container, ContainerHost } from './container.js';
import type { SpecCompiler } from './container-spec.js';
import type { Lender } from './joined-containers.js';
import type { SelinuxLabels } from './security/index.js';

/** What an executor's containers share, tasks' and others. */
export interface ExecutorParts {
  readonly host: ContainerHost;
  readonly compiler: SpecCompiler;
  readonly images: ImageStore;
  readonly network: ContainerNetwork | undefined;
  readonly volumes: Volumes;
  readonly labels: SelinuxLabels;
  /** All that are on this host, by task id. */
  readonly containers: Map<string, Container>;
  newContainerId(): string;
  dataDir(id: string): string;
  runDir(id: string): string;
  networkFiles(spec: Parameters<ContainerNetwork['files']>[0]): NetworkFiles;
  /** What a container that is no task's has for others; undefined: there is none of this id. */
  lender(containerId: string): Lender | undefined;
  /** A container that is no task's has been removed. */
  forget(containerId: string): void;
  /** Its networks let go of a container that has ended or could not start. May be repeated; never rejects. */
  detach(container: Container): Promise<void>;
  /** Takes a container off this host, with all that others keep for it. May be repeated. */
  dispose(container: Container): Promise<void>;
}
