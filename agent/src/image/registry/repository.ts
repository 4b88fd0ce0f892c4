import { digestOf, isDigest } from '@tessera/shared/digest';
import { ClusterError } from '@tessera/shared/errors';
import { isTag } from '@tessera/shared/image-reference';
import { MEDIA_TYPES } from '../image-manifest.js';
import { repositoryScope, type Scope } from './authorizer.js';
import { discard, type HttpAnswer } from './http-transport.js';
import { RegistryError } from './registry-errors.js';
import type { RegistrySession } from './registry-session.js';

/** Docker's own bound on what it reads as a manifest. */
export const MANIFEST_ANSWER_BYTES_MAX = 4 * 1024 * 1024;

const TAGS_PER_PAGE = 1_000;
const TAGS_MAX = 10_000;

const ACCEPTED = [
  MEDIA_TYPES.dockerManifest,
  MEDIA_TYPES.dockerManifestList,
  MEDIA_TYPES.ociManifest,
  MEDIA_TYPES.ociIndex,
].join(', ');

/** A manifest or index as it came, its digest computed from its bytes. */
export interface FetchedManifest {
  readonly mediaType: string;
  readonly digest: string;
  readonly bytes: Buffer;
}

/** Content of a blob from `offset` on. */
export interface BlobPart {
  /** Where `pieces` begin: a registry that knows no ranges begins at 0. */
  readonly offset: number;
  readonly pieces: AsyncIterable<Buffer>;
}

/** What can be read of one repository. Source: OCI distribution specification, "Pull". */
export class Repository {
  readonly #scopes: readonly Scope[];

  constructor(
    readonly session: RegistrySession,
    /** Without the registry's host: `library/busybox`. */
    readonly name: string,
    scopes: readonly Scope[] = [repositoryScope(name, 'pull')],
  ) {
    this.#scopes = scopes;
  }

  /**
   * The digest a tag means now; undefined when the registry does not say so without sending the manifest.
   * @throws RegistryError `notFound`
   */
  async resolve(tag: string, signal: AbortSignal): Promise<string | undefined> {
    const answer = await this.session.sendRepeated(
      {
        method: 'HEAD',
        target: `/v2/${this.name}/manifests/${tag}`,
        scopes: this.#scopes,
        headers: { accept: ACCEPTED },
        accept: [200, 404, 405],
      },
      signal,
    );
    discard(answer);
    const digest = answer.headers['docker-content-digest'];
    return answer.status === 200 && typeof digest === 'string' && isDigest(digest) ? digest : undefined;
  }

  /**
   * @param reference tag or digest
   * @throws RegistryError as the registry refuses; ClusterError `failedPrecondition` for a digest that is not kept
   */
  async manifest(reference: string, signal: AbortSignal): Promise<FetchedManifest> {
    const answer = await this.session.sendRepeated(
      {
        method: 'GET',
        target: `/v2/${this.name}/manifests/${reference}`,
        scopes: this.#scopes,
        headers: { accept: ACCEPTED },
        accept: [200],
      },
      signal,
    );
    const bytes = await this.session.transport.readAll(answer, MANIFEST_ANSWER_BYTES_MAX);
    const digest = digestOf(bytes);
    const claimed = answer.headers['docker-content-digest'];
    const wanted = isDigest(reference) ? reference : typeof claimed === 'string' ? claimed : digest;
    if (wanted !== digest)
      throw new ClusterError(
        'failedPrecondition',
        `manifest verification failed for digest ${wanted}: what ${this.session.endpoint.url} sent has ${digest}`,
      );
    const mediaType = (answer.headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase();
    return { mediaType, digest, bytes };
  }

  /** Every tag, page by page. @throws ClusterError `resourceExhausted` when there is no end of them */
  async tags(signal: AbortSignal): Promise<string[]> {
    const found: string[] = [];
    const path = `/v2/${this.name}/tags/list`;
    let last = '';
    for (;;) {
      const page = last === '' ? '' : `&last=${encodeURIComponent(last)}`;
      const target = `${path}?n=${TAGS_PER_PAGE}${page}`;
      const answer = await this.session.sendRepeated(
        { method: 'GET', target, scopes: this.#scopes, accept: [200] },
        signal,
      );
      const bytes = await this.session.transport.readAll(answer, MANIFEST_ANSWER_BYTES_MAX);
      const tags = tagsOf(bytes).filter((tag) => !found.includes(tag));
      found.push(...tags);
      if (found.length > TAGS_MAX)
        throw new ClusterError('resourceExhausted', `${this.name} has more than ${TAGS_MAX} tags`);
      if (tags.length === 0 || answer.headers.link === undefined) return found;
      last = found.at(-1)!;
    }
  }

  /** A small blob as a whole, verified. */
  async smallBlob(digest: string, sizeBytes: number, signal: AbortSignal): Promise<Buffer> {
    const answer = await this.session.sendRepeated(this.#blobRequest('GET', digest), signal);
    const bytes = await this.session.transport.readAll(answer, sizeBytes);
    if (digestOf(bytes) !== digest || bytes.length !== sizeBytes)
      throw new ClusterError(
        'failedPrecondition',
        `blob verification failed for digest ${digest}: what ${this.session.endpoint.url} sent has ${digestOf(bytes)}`,
      );
    return bytes;
  }

  /** Asks once; the caller goes on from where it stands. @throws RegistryError, TransportError */
  async blob(digest: string, offset: number, signal: AbortSignal): Promise<BlobPart> {
    const request = this.#blobRequest('GET', digest);
    const headers = offset > 0 ? { range: `bytes=${offset}-` } : {};
    const answer = await this.session.send({ ...request, headers, accept: [200, 206] }, signal);
    const begins = answer.status === 206 ? rangeStart(answer) : 0;
    if (begins > offset) {
      discard(answer);
      throw new ClusterError(
        'failedPrecondition',
        `${answer.request}: asked for bytes from ${offset} on, the registry sends from ${begins} on`,
      );
    }
    return { offset: begins, pieces: this.session.transport.read(answer) };
  }

  async hasBlob(digest: string, signal: AbortSignal): Promise<boolean> {
    const answer = await this.session.sendRepeated(
      { ...this.#blobRequest('HEAD', digest), accept: [200, 404] },
      signal,
    );
    discard(answer);
    return answer.status === 200;
  }

  #blobRequest(method: 'GET' | 'HEAD', digest: string) {
    const target = `/v2/${this.name}/blobs/${digest}`;
    return { method, target, scopes: this.#scopes, accept: [200] } as const;
  }
}

function rangeStart(answer: HttpAnswer): number {
  const match = /^bytes (\d{1,15})-/.exec(answer.headers['content-range'] ?? '');
  // 206 without a range that can be read: what was asked for cannot be told from anything else.
  return match ? Number(match[1]) : Number.POSITIVE_INFINITY;
}

/** What is no tag is left out: it could not be pulled. Source: OCI distribution specification, "Listing Tags". */
function tagsOf(bytes: Buffer): string[] {
  const { tags } = JSON.parse(bytes.toString('utf8')) as { readonly tags?: unknown };
  return Array.isArray(tags)
    ? tags.filter((tag): tag is string => typeof tag === 'string' && isTag(tag))
    : [];
}

/**
 * What a refusal means to whoever pulls, in Docker's words. Source: moby distribution/errors.go.
 *
 * @param familiar the reference as the user writes it, with tag or digest
 */
export function pullError(error: unknown, familiarRepository: string, familiar: string): unknown {
  if (!(error instanceof RegistryError)) return error;
  const say = (text: string) => new ClusterError('notFound', `${text}: ${error.message}`);
  switch (error.code) {
    case 'DENIED':
      return say(
        `pull access denied for ${familiarRepository}, repository does not exist or may require 'docker login'`,
      );
    case 'MANIFEST_UNKNOWN':
      return say(`manifest for ${familiar} not found`);
    case 'NAME_UNKNOWN':
      return say(`repository ${familiarRepository} not found`);
    default:
      if (error.code === '' && error.status === 404)
        return new ClusterError('notFound', `manifest for ${familiar} not found: manifest unknown`);
      return error;
  }
}
