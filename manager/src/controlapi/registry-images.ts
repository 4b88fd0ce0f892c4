import type { ProgressJson } from '@tessera/shared/docker-api';
import { ClusterError, errorText, invalid } from '@tessera/shared/errors';
import type { Image } from '@tessera/shared/model';
import { platformJson, platformOfConfig } from '@tessera/shared/platform';
import { seal, unseal } from '../seal/index.js';
import type { View } from '../store/view.js';
import { tell, tellOfImage } from './events/index.js';
import {
  askAnyNode,
  askNode,
  awaitHeld,
  findHolder,
  findLargestHolder,
  repositoriesOf,
} from './image-nodes.js';
import { familiarName, normalizeName, parseReference } from './image-reference.js';
import { addNames } from './images.js';
import { findImage } from './lookup.js';
import type { ControlContext } from './ports.js';

/** A registry that takes longer to say what an image is, is away. */
const DESCRIBE_TIMEOUT_MS = 30_000;
const ANSWER_BYTES_MAX = 1024 * 1024;

export type ProgressReport = (message: ProgressJson) => void;

/** An image as whoever asks for it names it, and who that is (Docker's X-Registry-Auth; empty: nobody). */
export interface RegistryReference {
  readonly reference: string;
  readonly registryAuth: string;
  /** OS/ARCH[/VARIANT]; empty: the node's. */
  readonly platform?: string;
}

/** What may be asked of images that lie in registries. Nodes do the talking; this decides which, and what is kept. */
export class RegistryImages {
  readonly #context: ControlContext;

  constructor(context: ControlContext) {
    this.#context = context;
  }

  /**
   * Brings an image into the cluster: one node pulls it, the others have it from there or from its registry.
   *
   * @throws ClusterError what the registry answered, in Docker's words
   */
  async pull(wanted: RegistryReference, report: ProgressReport, signal: AbortSignal): Promise<Image> {
    const { image, isNew } = await this.#pullOne(wanted, report, signal);
    await this.#tell('pull', wanted.reference);
    report(pullStatus(isNew, shownName(wanted.reference)));
    return image;
  }

  /**
   * Every tag of a repository, one after the other.
   *
   * @throws ClusterError as `pull`
   */
  async pullAll(wanted: RegistryReference, report: ProgressReport, signal: AbortSignal): Promise<void> {
    const { repository } = parseReference(wanted.reference);
    const { Tags: tags } = (await this.#ask('tags', wanted, signal)) as { readonly Tags: readonly string[] };
    let isAnyNew = false;
    for (const tag of tags) {
      const one = { ...wanted, reference: `${repository}:${tag}` };
      const { isNew } = await this.#pullOne(one, report, signal);
      isAnyNew ||= isNew;
    }
    const name = familiarName(repository);
    await tell(this.#context, { type: 'image', action: 'pull', actorId: name, attributes: { name } });
    report(pullStatus(isAnyNew, name));
  }

  async #pullOne(
    wanted: RegistryReference,
    report: ProgressReport,
    signal: AbortSignal,
  ): Promise<{ readonly image: Image; readonly isNew: boolean }> {
    const before = knownBy(await this.#context.store.read(), wanted.reference);
    const { nodeId, image } = await this.#fetch(wanted, false, report, signal);
    const kept = await this.#keep(image, image.names, wanted.registryAuth);
    await awaitHeld(this.#context, nodeId, image.id, signal);
    report({ status: `Digest: ${image.repoDigests[0]?.split('@')[1] ?? image.id}` });
    return { image: kept, isNew: before?.id !== image.id };
  }

  /**
   * Has the cluster know an image that no node holds: what its registry says of it now is recorded, so that every
   * task made from it runs the same. Layers come when a node needs them.
   */
  async describe(wanted: RegistryReference, signal: AbortSignal): Promise<Image> {
    const deadline = new AbortController();
    const cancel = this.#context.clock.after(DESCRIBE_TIMEOUT_MS, () =>
      deadline.abort(new ClusterError('deadlineExceeded', 'its registry did not answer in time')),
    );
    try {
      const both = AbortSignal.any([signal, deadline.signal]);
      const { image } = await this.#fetch(wanted, true, () => {}, both);
      return await this.#keepDescribed(image);
    } finally {
      cancel();
    }
  }

  /**
   * Gives an image to the registry its name is of. Without a tag, under all the names it has there.
   *
   * @throws ClusterError `notFound` when no image has the name
   */
  async push(
    name: string,
    tag: string,
    registryAuth: string,
    report: ProgressReport,
    signal: AbortSignal,
  ): Promise<void> {
    const view = await this.#context.store.read();
    const names = namesToPush(view, name, tag);
    if (names.length === 0) {
      report({ status: `The push refers to repository [${parseReference(name).repository}]` });
      const familiar = familiarName(parseReference(name).repository);
      throw new ClusterError(
        'notFound',
        tag !== '' && namesToPush(view, name, '').length > 0
          ? `tag does not exist: ${familiar}:${tag}`
          : `An image does not exist locally with the tag: ${familiar}`,
      );
    }
    for (const each of names) {
      await this.#pushOne(view, each, registryAuth, report, signal);
      await this.#tell('push', each);
    }
  }

  /** As dockerd names it: the reference is its id, the repository its name. */
  #tell(action: 'pull' | 'push', reference: string): Promise<void> {
    const name = familiarName(reference);
    const repository = name.replace(/(?:@sha256:.*|:[^:/]*)$/, '');
    return tell(this.#context, { type: 'image', action, actorId: name, attributes: { name: repository } });
  }

  /** What a name means at its registry; where no registry is asked or none answers, what it means in the cluster. */
  async distribution(wanted: RegistryReference, signal: AbortSignal): Promise<object> {
    const view = await this.#context.store.read();
    const known = knownBy(view, wanted.reference);
    const { repository } = parseReference(wanted.reference);
    // What was loaded under a name is what that name means here: its registry may never have heard of it.
    if (known && !repositoriesOf(known).includes(repository)) return descriptionOf(known);
    try {
      return await this.#ask('distribution', wanted, signal);
    } catch (error) {
      if (known && !signal.aborted) return descriptionOf(known);
      throw error;
    }
  }

  /** @returns an identity token to keep instead of the password; empty: keep the password */
  async login(host: string, registryAuth: string, signal: AbortSignal): Promise<string> {
    const answer = await this.#ask('login', { reference: host, registryAuth }, signal);
    return String((answer as { IdentityToken?: unknown }).IdentityToken ?? '');
  }

  /**
   * An archive of images as `docker save` writes it. A name without a tag means all its tags.
   *
   * @throws ClusterError `notFound`
   */
  async save(references: readonly string[], signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const view = await this.#context.store.read();
    const names = new Map<string, Set<string>>();
    for (const { image, name } of references.flatMap((reference) => savedBy(view, reference))) {
      const known = names.get(image.id) ?? new Set();
      names.set(image.id, name === undefined ? known : known.add(name));
    }
    const images = [...names].map(([imageId, each]) => ({ imageId, names: [...each], more: [] }));
    const [first, ...more] = images;
    if (!first) throw invalid('names: say which images');
    const ids = images.map(({ imageId }) => imageId);
    // Of several, the node fetches those that it does not hold.
    const nodeId =
      ids.length === 1
        ? await this.#holderOf(view, first.imageId, signal)
        : findLargestHolder(view, ids, this.#context.nodeId);
    const answer = askNode(this.#context, nodeId, { $case: 'imageSave', value: { ...first, more } }, signal);
    for (const { imageId } of images)
      await tellOfImage(this.#context, 'save', view.images.get(imageId) ?? { configDigest: imageId });
    return (async function* () {
      for await (const body of answer) if (body.$case === 'data') yield body.value;
    })();
  }

  async #pushOne(
    view: View,
    name: string,
    registryAuth: string,
    report: ProgressReport,
    signal: AbortSignal,
  ): Promise<void> {
    const image = view.images.byName(name)!;
    const nodeId = await this.#holderOf(view, image.id, signal);
    const value = { image: bare(image), name, registryAuth, mounts: mountsFor(view, image, name) };
    for await (const body of askNode(this.#context, nodeId, { $case: 'imagePush', value }, signal)) {
      if (body.$case === 'progress') report(parseProgress(body.value));
    }
    const repository = name.slice(0, name.lastIndexOf(':'));
    await this.#keep({ ...image, repoDigests: [`${repository}@${image.id}`] }, [], registryAuth);
  }

  /** A node that holds the image; one that is only known by its registry is pulled first. */
  async #holderOf(view: View, imageId: string, signal: AbortSignal): Promise<string> {
    const holder = findHolder(view, [imageId], this.#context.nodeId);
    if (holder) return holder;
    const image = view.images.get(imageId);
    const reference = image?.repoDigests[0];
    if (!image || reference === undefined)
      throw new ClusterError('unavailable', 'no node that is ready holds the image');
    const registryAuth = unseal(view, `image/${image.id}`, image.registryAuth) ?? '';
    return (await this.#fetch({ reference, registryAuth }, false, () => {}, signal)).nodeId;
  }

  async #fetch(
    { reference, registryAuth, platform = '' }: RegistryReference,
    describeOnly: boolean,
    report: ProgressReport,
    signal: AbortSignal,
  ): Promise<{ readonly nodeId: string; readonly image: Image }> {
    const value = { reference, registryAuth, platform, describeOnly };
    let image: Image | undefined;
    const { nodeId, answer } = await askAnyNode(this.#context, { $case: 'imagePull', value }, signal);
    for await (const body of answer) {
      if (body.$case === 'progress') report(parseProgress(body.value));
      if (body.$case === 'imageLoaded') image = body.value.image;
    }
    if (!image) throw new ClusterError('internal', `node ${nodeId} pulled ${reference} and gave no image`);
    return { nodeId, image };
  }

  async #ask(
    kind: 'distribution' | 'login' | 'tags',
    { reference, registryAuth }: RegistryReference,
    signal: AbortSignal,
  ): Promise<object> {
    const value = { kind, target: reference, registryAuth };
    const pieces: Uint8Array[] = [];
    let sizeBytes = 0;
    const { nodeId, answer } = await askAnyNode(this.#context, { $case: 'registry', value }, signal);
    for await (const body of answer) {
      if (body.$case !== 'data') continue;
      sizeBytes += body.value.length;
      if (sizeBytes > ANSWER_BYTES_MAX) throw new ClusterError('internal', `node ${nodeId} answers too much`);
      pieces.push(body.value);
    }
    return JSON.parse(Buffer.concat(pieces).toString('utf8')) as object;
  }

  /**
   * Records an image, and with which credentials its registry gives it again.
   *
   * @param names what it is called from now on, wherever those names pointed before
   */
  async #keep(image: Image, names: readonly string[], registryAuth: string): Promise<Image> {
    const { store, random } = this.#context;
    return store.update((tx) => {
      const sealed = registryAuth ? seal(tx, random, `image/${image.id}`, registryAuth) : Buffer.alloc(0);
      addNames(tx, { ...image, registryAuth: sealed }, names);
      return tx.images.get(image.id)!;
    });
  }

  /** Records what is only described: it takes no name from another image, and no facts from one that is known. */
  async #keepDescribed(image: Image): Promise<Image> {
    return this.#context.store.update((tx) => {
      const free = image.names.filter((name) => tx.claim(`name/image/${name}`) === undefined);
      const known = tx.images.get(image.id);
      addNames(tx, known ? { ...known, repoDigests: image.repoDigests } : image, free);
      return tx.images.get(image.id)!;
    });
  }
}

/** What a reference names for an archive, and under which names. Source: moby image/tarexport/save.go. */
function savedBy(
  view: View,
  reference: string,
): { readonly image: Image; readonly name: string | undefined }[] {
  const bareName = bareRepository(reference);
  const tagged = [...view.images.all()].flatMap((image) =>
    image.names
      .filter((name) => bareName !== undefined && name.slice(0, name.lastIndexOf(':')) === bareName)
      .map((name) => ({ image, name })),
  );
  if (tagged.length > 0) return tagged;
  const image = knownBy(view, reference);
  if (!image)
    throw new ClusterError(
      'notFound',
      bareName === undefined ? 'reference does not exist' : `No such image: ${reference}`,
    );
  return [{ image, name: image.names.find((each) => each === normalized(reference)) }];
}

/** Of a reference without tag and digest: its repository. */
function bareRepository(reference: string): string | undefined {
  try {
    const { repository, tag, digest } = parseReference(reference);
    return tag || digest ? undefined : repository;
  } catch {
    return undefined;
  }
}

/** Without what agents need not know. */
export const bare = (image: Image): Image => ({ ...image, registryAuth: Buffer.alloc(0) });

function knownBy(view: View, reference: string): Image | undefined {
  try {
    return findImage(view, reference);
  } catch {
    return undefined;
  }
}

function normalized(reference: string): string | undefined {
  try {
    return normalizeName(reference);
  } catch {
    return undefined;
  }
}

const pullStatus = (isNew: boolean, name: string): ProgressJson => ({
  status: `Status: ${isNew ? 'Downloaded newer image' : 'Image is up to date'} for ${name}`,
});

/** As Docker says it: with the tag or digest, in the short form. */
function shownName(reference: string): string {
  const { repository, tag, digest } = parseReference(reference);
  return digest ? `${familiarName(repository)}@${digest}` : `${familiarName(repository)}:${tag || 'latest'}`;
}

function namesToPush(view: View, name: string, tag: string): string[] {
  const reference = parseReference(name);
  if (reference.digest) throw invalid('cannot push a digest reference');
  const wanted = tag || reference.tag;
  if (wanted) {
    const full = normalizeName(`${reference.repository}:${wanted}`);
    return view.images.byName(full) ? [full] : [];
  }
  return [...view.images.all()]
    .flatMap(({ names }) => names)
    .filter((each) => each.slice(0, each.lastIndexOf(':')) === reference.repository)
    .sort();
}

/** Where the registry may have a layer already: a repository of an image that shares it. */
function mountsFor(view: View, image: Image, name: string): { digest: string; repository: string }[] {
  const { repository } = parseReference(name);
  const host = repository.slice(0, repository.indexOf('/') + 1);
  const mounts = new Map<string, string>();
  for (const other of view.images.all()) {
    const from = repositoriesOf(other).find((each) => each.startsWith(host) && each !== repository);
    if (from === undefined) continue;
    for (const digest of other.layerDigests)
      if (image.layerDigests.includes(digest)) mounts.set(digest, from.slice(host.length));
  }
  return [...mounts].map(([digest, from]) => ({ digest, repository: from }));
}

function parseProgress(line: string): ProgressJson {
  try {
    return JSON.parse(line) as ProgressJson;
  } catch (error) {
    return { status: `${line} (${errorText(error)})` };
  }
}

function descriptionOf(image: Image): object {
  const manifest = JSON.parse(Buffer.from(image.manifest).toString('utf8')) as { mediaType?: string };
  const platform = platformOfConfig(image.config);
  return {
    Descriptor: {
      mediaType: manifest.mediaType ?? 'application/vnd.oci.image.manifest.v1+json',
      digest: image.id,
      size: image.manifest.length,
    },
    Platforms: platform ? [platformJson(platform)] : [],
  };
}
