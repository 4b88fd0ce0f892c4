import { ClusterError, notFound } from '@tessera/shared/errors';
import {
  type Image,
  isBefore,
  type Network,
  type Node,
  type Service,
  type Task,
} from '@tessera/shared/model';
import type { Table, View } from '../store/view.js';
import { familiarName, normalizeName, parseReference } from './image-reference.js';

// What a user may write for an object: its id, its name, or a beginning of its id that fits no other.
// Source: moby daemon/cluster/helpers.go.

export function getService(view: View, reference: string): Service {
  const found = live(view.services.get(reference)) ?? claimed(view, 'service', reference, view.services);
  return found ?? byPrefix('service', reference, view.services) ?? missing('service', reference);
}

export function getNetwork(view: View, reference: string): Network {
  const found = live(view.networks.get(reference)) ?? claimed(view, 'network', reference, view.networks);
  return found ?? byPrefix('network', reference, view.networks) ?? missing('network', reference);
}

/** @param self the node that answers to the word `self` */
export function getNode(view: View, reference: string, self: string): Node {
  const id = reference === 'self' ? self : reference;
  const found = view.nodes.get(id);
  if (found) return found;

  const named = [...view.nodes.all()].filter((node) => nodeName(view, node) === id);
  if (named.length > 1) {
    throw new ClusterError('failedPrecondition', `node ${id} is ambiguous (${named.length} matches found)`);
  }
  return named[0] ?? byPrefix('node', id, view.nodes) ?? missing('node', id);
}

/** By id, or by its name; of the tasks that have had one place, by the name the one that is there now. */
export function getTask(view: View, reference: string): Task {
  const found = view.tasks.get(reference) ?? taskByName(view, reference);
  return found ?? byPrefix('task', reference, view.tasks) ?? missing('task', reference);
}

function taskByName(view: View, name: string): Task | undefined {
  // Ids have no dots, and names always have one.
  if (!name.includes('.')) return undefined;
  const named = [...view.tasks.all()].filter((task) => taskName(task) === name);
  const wanted = named.filter(({ desiredState }) => !isBefore('running', desiredState));
  const [only, ...others] = wanted.length > 0 ? wanted : named;
  if (others.length > 0) {
    const ids = [only!, ...others].map(({ id }) => id).join(', ');
    throw new ClusterError('failedPrecondition', `task ${name} is ambiguous: give the id of one of ${ids}`);
  }
  return only;
}

/** `web.1`; tasks of a global service are told apart by their node. */
export const taskName = (task: Task): string => `${task.serviceName}.${task.slot || task.nodeId}`;

/** By name, by id of manifest or configuration, or by a beginning of either. */
export function getImage(view: View, reference: string): Image {
  const found = findImage(view, reference);
  if (found) return found;
  throw noSuchImage(reference);
}

/** In Docker's words, which name the tag that was meant. */
function noSuchImage(reference: string): ClusterError {
  const name = reference.startsWith('sha256:') ? reference : familiarName(normalizeName(reference));
  return new ClusterError('notFound', `No such image: ${name}`);
}

export function findImage(view: View, reference: string): Image | undefined {
  const digits = reference.replace(/^sha256:/, '');
  if (/^[0-9a-f]{4,64}$/.test(digits)) {
    const matches = [...view.images.all()].filter(
      (image) => image.id.startsWith(`sha256:${digits}`) || image.configDigest.startsWith(`sha256:${digits}`),
    );
    // One configuration may lie in several manifests, as when it was loaded and pulled: Docker knows one image.
    if (new Set(matches.map(({ configDigest }) => configDigest)).size > 1) {
      throw new ClusterError(
        'failedPrecondition',
        `image ${reference} is ambiguous (${matches.length} matches found)`,
      );
    }
    const found = matches.find(({ names }) => names.length > 0) ?? matches[0];
    if (found) return found;
  }
  const parsed = parseReference(reference);
  if (parsed.digest) return imageByDigest(view, parsed.repository, parsed.digest);
  return view.images.byName(normalizeName(reference));
}

/** What people call a node: the name given to it, else its host's name. */
export function nodeName(view: View, node: Node): string {
  return node.name || view.nodeStatuses.get(node.id)?.description?.hostname || node.id;
}

/** An image in the short form people use: its first name, else its id. */
export const imageLabel = (image: Image): string =>
  image.names[0] ? familiarName(image.names[0]) : image.id.slice('sha256:'.length, 'sha256:'.length + 12);

interface Removable {
  readonly id: string;
  readonly removing: boolean;
}

// An object that is being removed has given up its name, and is no longer shown.
const live = <T extends Removable>(object: T | undefined): T | undefined =>
  object && !object.removing ? object : undefined;

function claimed<T extends Removable>(
  view: View,
  what: 'service' | 'network',
  name: string,
  table: Table<T>,
): T | undefined {
  const owner = view.claim(`name/${what}/${name}`);
  return owner?.startsWith(`${what}/`) ? live(table.get(owner.slice(what.length + 1))) : undefined;
}

function byPrefix<T extends { readonly id: string; readonly removing?: boolean }>(
  what: string,
  prefix: string,
  table: Table<T>,
): T | undefined {
  if (prefix === '') return undefined;
  const matches: T[] = [];
  for (const object of table.all()) {
    if (object.id.startsWith(prefix) && !object.removing) matches.push(object);
  }
  if (matches.length > 1) {
    throw new ClusterError(
      'failedPrecondition',
      `${what} ${prefix} is ambiguous (${matches.length} matches found)`,
    );
  }
  return matches[0];
}

function missing(what: string, reference: string): never {
  throw notFound(what, reference);
}

/** By the digest of its manifest, or by the one that its registry leads to it from, which may be an index's. */
export function imageByDigest(view: View, repository: string, digest: string): Image | undefined {
  const found = view.images.get(digest);
  if (found) return found;
  const reference = `${repository}@${digest}`;
  for (const image of view.images.all()) if (image.repoDigests.includes(reference)) return image;
  return undefined;
}
