import { newId } from '@tessera/shared/env';
import { ClusterError, errorText, invalid } from '@tessera/shared/errors';
import {
  Service,
  type ServiceSpec,
  ServiceStatus,
  ServiceSpec as Spec,
  TaskSpec,
  UpdateStatus,
} from '@tessera/shared/model';
import { seal, unseal } from '../seal/index.js';
import type { Transaction, View } from '../store/view.js';
import { assertApiSocket } from './api-socket.js';
import { familiarName } from './image-reference.js';
import { getNetwork, getService } from './lookup.js';
import type { ControlContext } from './ports.js';
import { proposeName } from './random-name.js';
import { RegistryImages } from './registry-images.js';
import { isKnownImage, noSuchImage, referenceOf, resolveImage } from './resolve-image.js';
import { outOfSequence, validateServiceSpec } from './service-validation.js';

/** Which of a service's two specs an update takes: the one given, or the one before it. */
export type UpdateSource = 'given' | 'previous';

/** With what a service's image is pulled (Docker's X-Registry-Auth). */
export interface ServiceAuth {
  /** Empty: none is given; an update then keeps what `from` names. */
  readonly registryAuth: string;
  readonly from: 'spec' | 'previous-spec';
}
const NO_AUTH: ServiceAuth = { registryAuth: '', from: 'spec' };

/** What may be asked of services. */
export class Services {
  readonly #context: ControlContext;

  readonly #registry: RegistryImages;

  constructor(context: ControlContext) {
    this.#context = context;
    this.#registry = new RegistryImages(context);
  }

  /** Services that are not being removed, with the picture they are from. */
  async list(): Promise<{ readonly view: View; readonly services: readonly Service[] }> {
    const view = await this.#context.store.read();
    return { view, services: [...view.services.all()].filter((service) => !service.removing) };
  }

  async inspect(reference: string): Promise<{ readonly view: View; readonly service: Service }> {
    const view = await this.#context.store.read();
    return { view, service: getService(view, reference) };
  }

  /** @throws ClusterError `alreadyExists` when the name is taken, `notFound` for an image that is nowhere */
  async create(
    spec: ServiceSpec,
    { registryAuth }: ServiceAuth = NO_AUTH,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<Service> {
    const { store, random } = this.#context;
    const id = newId(random);
    await this.#knowImage(await store.read(), spec, undefined, registryAuth, signal);

    return store.update((tx) => {
      const name = spec.name || proposeName(random, (name) => tx.claim(`name/service/${name}`) !== undefined);
      const resolved = resolveReferences(tx, { ...spec, name });
      validateServiceSpec(resolved);
      assertApiSocket(tx, resolved.task?.container);
      takeName(tx, name, id);

      const sealed = registryAuth ? seal(tx, random, `service/${id}`, registryAuth) : Buffer.alloc(0);
      const service = Service.fromPartial({ id, spec: resolved, specVersion: 1, registryAuth: sealed });
      tx.put('services', service);
      tx.put('specs', { serviceId: id, version: 1, task: resolved.task });
      return service;
    });
  }

  /**
   * Replaces a service's spec.
   *
   * @param index the `meta.index` the new spec was made from
   * @throws ClusterError `aborted` when the service has changed since
   */
  async update(
    reference: string,
    index: number,
    spec: ServiceSpec,
    source: UpdateSource,
    { registryAuth, from }: ServiceAuth = NO_AUTH,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<Service> {
    const { store, random } = this.#context;
    const view = await store.read();
    const known = getService(view, reference);
    const { id } = known;
    if (source === 'given') await this.#knowImage(view, spec, known, registryAuth, signal);

    return store.update((tx) => {
      const before = getService(tx, id);
      if (before.meta?.index !== index) throw outOfSequence();

      const wanted = source === 'given' ? spec : before.previousSpec;
      if (!wanted) {
        throw new ClusterError('failedPrecondition', `service ${reference} does not have a previous spec`);
      }
      const resolved = resolveReferences(tx, wanted, before.spec);
      validateServiceSpec(resolved);
      assertApiSocket(tx, resolved.task?.container);
      if (resolved.name !== before.spec?.name) {
        throw new ClusterError('unimplemented', 'renaming services is not supported');
      }
      if (resolved.mode !== before.spec?.mode) {
        throw new ClusterError('unimplemented', 'service mode change is not allowed');
      }

      const specVersion = before.specVersion + (sameTask(resolved, before.spec) ? 0 : 1);
      if (specVersion !== before.specVersion) {
        tx.put('specs', { serviceId: id, version: specVersion, task: resolved.task });
      }
      const after: Service = {
        ...before,
        spec: resolved,
        previousSpec: before.spec,
        specVersion,
        registryAuth: registryAuth
          ? seal(tx, random, `service/${id}`, registryAuth)
          : source === 'previous' || from === 'previous-spec'
            ? before.previousRegistryAuth
            : before.registryAuth,
        previousRegistryAuth: before.registryAuth,
      };
      tx.put('services', after);
      if (source === 'previous') putRollback(tx, id, this.#context.clock.now());
      return after;
    });
  }

  /** An image that the cluster does not know is looked for at its registry, and what it is there is recorded. */
  async #knowImage(
    view: View,
    { task }: ServiceSpec,
    before: Service | undefined,
    registryAuth: string,
    signal: AbortSignal,
  ): Promise<void> {
    const container = task?.container;
    if (!container || isKnownImage(view, container, before?.spec?.task?.container)) return;
    const reference = referenceOf(container);
    const owner = `service/${before?.id}`;
    const kept = before ? unseal(view, owner, before.registryAuth) : undefined;
    try {
      await this.#registry.describe({ reference, registryAuth: registryAuth || kept || '' }, signal);
    } catch (error) {
      signal.throwIfAborted();
      throw noSuchImage(familiarName(reference), errorText(error));
    }
  }

  /** Marks a service for removal and frees its name; the leader takes its tasks away, and then the service. */
  async remove(reference: string): Promise<void> {
    const { store } = this.#context;
    const { id } = getService(await store.read(), reference);

    await store.update((tx) => {
      const service = getService(tx, id);
      tx.put('services', { ...service, removing: true });
      const name = `name/service/${service.spec?.name}`;
      if (tx.claim(name) === `service/${id}`) tx.releaseClaim(name);
    });
  }
}

/** The leader goes by the service's rollback configuration from here on. */
function putRollback(tx: Transaction, serviceId: string, nowMs: number): void {
  const before = tx.serviceStatuses.get(serviceId) ?? ServiceStatus.fromPartial({ serviceId });
  const update = UpdateStatus.fromPartial({
    state: 'rollback_started',
    startedAtMs: nowMs,
    message: 'manually requested rollback',
  });
  tx.put('serviceStatuses', { ...before, update });
}

function takeName(tx: Transaction, name: string, id: string): void {
  if (tx.claim(`name/service/${name}`) !== undefined) {
    throw new ClusterError(
      'alreadyExists',
      `name conflicts with an existing object: service ${name} already exists`,
    );
  }
  tx.takeClaim(`name/service/${name}`, `service/${id}`);
}

/** Docker's names for the networks of each host. */
const HOSTS_OWN = new Set(['bridge', 'host', 'none']);

/** The spec with networks by id and the image by digest, each required to be there when it is committed. */
function resolveReferences(tx: Transaction, spec: ServiceSpec, before?: ServiceSpec): ServiceSpec {
  const task = spec.task;
  if (!task?.container) throw invalid('TaskTemplate.ContainerSpec: a service needs a container');

  const attached = new Set<string>();
  const networks = task.networks.map((attachment) => {
    if (HOSTS_OWN.has(attachment.networkId)) {
      throw invalid(
        `TaskTemplate.Networks: the network '${attachment.networkId}' is not supported for services yet; use an overlay network, or none of them`,
      );
    }
    const network = getNetwork(tx, attachment.networkId);
    // By id: a network's name and its id are one network.
    if (attached.has(network.id)) {
      throw invalid(`TaskTemplate.Networks: ${attachment.networkId} is attached twice; name it once`);
    }
    attached.add(network.id);
    if (network.spec?.driver !== 'overlay') {
      throw invalid(
        `network ${attachment.networkId} cannot be used with services. Only overlay networks can`,
      );
    }
    tx.require('networks', network.id);
    return { ...attachment, networkId: network.id };
  });
  const container = resolveImage(tx, task.container, before?.task?.container);
  return { ...spec, task: { ...task, networks, container } };
}

/** Whether tasks made from either are the same, so that none needs to be replaced. */
function sameTask(a: ServiceSpec, b: ServiceSpec | undefined): boolean {
  const bytes = (spec: ServiceSpec | undefined) =>
    Buffer.from(TaskSpec.encode(spec?.task ?? TaskSpec.create()).finish());
  return bytes(Spec.fromPartial(a)).equals(bytes(Spec.fromPartial(b ?? {})));
}
