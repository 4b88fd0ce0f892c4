import type { BlobStore } from '../blob-store.js';
import type { Descriptor } from '../image-manifest.js';
import { repositoryScope, type Scope } from './authorizer.js';
import { discard, type HttpAnswer } from './http-transport.js';
import { RegistryError } from './registry-errors.js';
import { locationOf, type RegistrySession } from './registry-session.js';
import { DamagedBlob, type RetryOptions, withRetries } from './retry.js';

/** What became of a blob that was to be in a repository. */
export type UploadOutcome = 'exists' | 'mounted' | 'pushed';

export interface UploadOptions {
  readonly blobs: BlobStore;
  readonly retry: RetryOptions;
  /** Another repository of the registry that may have the blob; a wrong guess costs nothing. */
  readonly mountFrom: string | undefined;
  /** Called with how many bytes the registry was given. */
  readonly sent: (bytes: number) => void;
}

/** What can be written to one repository. Source: OCI distribution specification, "Push". */
export class RepositoryWriter {
  readonly #scopes: readonly Scope[];

  constructor(
    private readonly session: RegistrySession,
    private readonly name: string,
    mountRepositories: Iterable<string>,
  ) {
    // One token for the whole push: it names the repositories that are mounted from as well.
    this.#scopes = [
      repositoryScope(name, 'pull', 'push'),
      ...[...new Set(mountRepositories)].map((other) => repositoryScope(other, 'pull')),
    ];
  }

  /**
   * Has the registry hold a blob: it is looked for, mounted from where it is already, or sent; what breaks off goes
   * on from where the registry says it stands.
   */
  async ensureBlob(blob: Descriptor, options: UploadOptions, signal: AbortSignal): Promise<UploadOutcome> {
    if (await this.#has(blob.digest, signal)) return 'exists';
    let upload = await this.#begin(blob.digest, options.mountFrom, signal);
    if (!upload) return 'mounted';
    let hasBroken = false;
    let furthest = 0;
    await withRetries(options.retry, signal, async (progressed) => {
      // Its end may have arrived although its answer did not.
      if (hasBroken && (await this.#has(blob.digest, signal))) return;
      let offset = 0;
      if (hasBroken) {
        const standing = upload && (await this.#standing(upload, signal));
        upload = standing?.location ?? (await this.#begin(blob.digest, undefined, signal));
        offset = standing?.offset ?? 0;
      }
      if (!upload) return;
      if (offset > furthest) {
        furthest = offset;
        progressed();
      }
      hasBroken = true;
      try {
        const at = offset < blob.size ? await this.#send(upload, blob, offset, options, signal) : upload;
        await this.#finish(at, blob.digest, signal);
      } catch (error) {
        if (!(error instanceof RegistryError) || ![404, 416].includes(error.status)) throw error;
        // Lost: from the beginning. On 416 it stands elsewhere than it said: what broke off was still arriving.
        if (error.status === 404) upload = undefined;
        throw new DamagedBlob(error.message, { cause: error });
      }
    });
    return 'pushed';
  }

  /** @returns the digest under which the registry keeps it */
  async putManifest(
    reference: string,
    mediaType: string,
    bytes: Buffer,
    signal: AbortSignal,
  ): Promise<string> {
    const answer = await this.session.sendRepeated(
      {
        method: 'PUT',
        target: `/v2/${this.name}/manifests/${reference}`,
        scopes: this.#scopes,
        headers: { 'content-type': mediaType },
        body: () => ({ sizeBytes: bytes.length, content: [bytes] }),
        accept: [201, 202, 200],
      },
      signal,
    );
    discard(answer);
    return String(answer.headers['docker-content-digest'] ?? '');
  }

  async #has(digest: string, signal: AbortSignal): Promise<boolean> {
    const answer = await this.session.sendRepeated(
      {
        method: 'HEAD',
        target: `/v2/${this.name}/blobs/${digest}`,
        scopes: this.#scopes,
        accept: [200, 404],
      },
      signal,
    );
    discard(answer);
    return answer.status === 200;
  }

  /** Undefined when the blob was mounted. */
  async #begin(digest: string, mountFrom: string | undefined, signal: AbortSignal): Promise<URL | undefined> {
    const query =
      mountFrom === undefined ? '' : `?${new URLSearchParams({ mount: digest, from: mountFrom })}`;
    const request = (target: string) =>
      this.session.sendRepeated(
        {
          method: 'POST',
          target,
          scopes: this.#scopes,
          body: () => ({ sizeBytes: 0, content: [] }),
          accept: [201, 202],
        },
        signal,
      );
    const target = `/v2/${this.name}/blobs/uploads/`;
    const answer = await request(`${target}${query}`).catch((error: unknown) => {
      // Not allowed to mount from there: it can still be sent.
      if (query && error instanceof RegistryError && error.status < 500) return request(target);
      throw error;
    });
    discard(answer);
    return answer.status === 201 ? undefined : locationOf(answer);
  }

  /** How far an upload has come; undefined when the registry has forgotten it. */
  async #standing(
    upload: URL,
    signal: AbortSignal,
  ): Promise<{ readonly location: URL; readonly offset: number } | undefined> {
    const answer = await this.session.sendRepeated(
      { method: 'GET', target: upload, scopes: this.#scopes, accept: [204, 404, 400, 416] },
      signal,
    );
    discard(answer);
    if (answer.status !== 204) return undefined;
    const location = answer.headers.location === undefined ? upload : locationOf(answer);
    return { location, offset: rangeEnd(answer) };
  }

  async #send(
    upload: URL,
    blob: Descriptor,
    offset: number,
    { blobs, sent }: UploadOptions,
    signal: AbortSignal,
  ): Promise<URL> {
    const answer = await this.session.send(
      {
        method: 'PATCH',
        target: upload,
        scopes: this.#scopes,
        headers: {
          'content-type': 'application/octet-stream',
          'content-range': `${offset}-${blob.size - 1}`,
        },
        body: () => ({
          sizeBytes: blob.size - offset,
          content: contentFrom(blobs, blob.digest, offset, sent),
        }),
        accept: [202, 201, 204],
      },
      signal,
    );
    discard(answer);
    return locationOf(answer);
  }

  async #finish(upload: URL, digest: string, signal: AbortSignal): Promise<void> {
    const target = new URL(upload);
    target.searchParams.set('digest', digest);
    const answer = await this.session.send(
      {
        method: 'PUT',
        target,
        scopes: this.#scopes,
        body: () => ({ sizeBytes: 0, content: [] }),
        accept: [201, 204],
      },
      signal,
    );
    discard(answer);
  }
}

async function* contentFrom(
  blobs: BlobStore,
  digest: string,
  offset: number,
  sent: (bytes: number) => void,
): AsyncIterable<Uint8Array> {
  let at = offset;
  const { content } = await blobs.read(digest, offset);
  for await (const piece of content) {
    yield piece;
    at += piece.length;
    sent(at);
  }
}

/** `Range: 0-N`: N + 1 bytes are there. `0-0` means none or one; sending that one again would be refused. */
function rangeEnd(answer: HttpAnswer): number {
  const match = /^(?:bytes=)?0-(\d{1,15})$/.exec(String(answer.headers.range ?? ''));
  const last = match ? Number(match[1]) : 0;
  return last === 0 ? 0 : last + 1;
}
