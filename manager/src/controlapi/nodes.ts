import { ClusterError, invalid } from '@tessera/shared/errors';
import type { Node, Node_Availability, Node_Role } from '@tessera/shared/model';
import type { View } from '../store/view.js';
import { getNode } from './lookup.js';
import type { ControlContext } from './ports.js';
import { outOfSequence } from './service-validation.js';

/** As host names are: a node is named for its host when it joins. */
const NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/;

/** What a user decides about a node. */
export interface NodeSpec {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly role: Node_Role;
  readonly availability: Node_Availability;
}

/** What may be asked of nodes. */
export class Nodes {
  readonly #context: ControlContext;

  constructor(context: ControlContext) {
    this.#context = context;
  }

  async list(): Promise<{ readonly view: View; readonly nodes: readonly Node[] }> {
    const view = await this.#context.store.read();
    return { view, nodes: [...view.nodes.all()] };
  }

  async inspect(reference: string): Promise<{ readonly view: View; readonly node: Node }> {
    const view = await this.#context.store.read();
    return { view, node: getNode(view, reference, this.#context.nodeId) };
  }

  /** @param index the `meta.index` the new spec was made from */
  async update(reference: string, index: number, spec: NodeSpec): Promise<void> {
    const { store, nodeId } = this.#context;
    const { id } = getNode(await store.read(), reference, nodeId);
    // Empty: the node goes by its host's name.
    if (spec.name !== '' && !NAME.test(spec.name)) {
      throw invalid(`node name: '${spec.name}' must be letters, digits, '.', '-' and '_', at most 253`);
    }

    await store.update((tx) => {
      const node = getNode(tx, id, nodeId);
      if ((node.meta?.index ?? 0) !== index) throw outOfSequence();
      if (spec.role !== node.role) {
        throw new ClusterError(
          'unimplemented',
          `the role of node ${reference} cannot be changed yet: let it leave, and join it with a ${spec.role} token`,
        );
      }
      tx.put('nodes', {
        ...node,
        name: spec.name,
        labels: { ...spec.labels },
        availability: spec.availability,
      });
    });
  }

  /** Forgets a node. One that is not down may still run tasks, so it takes `force`. */
  async remove(reference: string, force: boolean): Promise<void> {
    const { store, nodeId } = this.#context;
    const { id } = getNode(await store.read(), reference, nodeId);

    await store.update((tx) => {
      const node = getNode(tx, id, nodeId);
      if (node.role === 'manager') {
        throw new ClusterError(
          'failedPrecondition',
          `node ${reference} is a cluster manager and is a member of the quorum. It must leave the cluster before removal`,
        );
      }
      const state = tx.nodeStatuses.get(id)?.state;
      if (!force && (state === 'ready' || state === 'restarting')) {
        throw new ClusterError(
          'failedPrecondition',
          `node ${reference} is not down and can't be removed: stop it or let it leave first, or use --force`,
        );
      }
      tx.delete('nodes', id);
      if (tx.nodeStatuses.get(id)) tx.delete('nodeStatuses', id);
    });
  }
}
