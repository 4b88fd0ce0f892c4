import type { ImagePullRequest, ImagePushRequest } from '@tessera/shared/wire';
import type { RegistryImages } from '../image/index.js';
import type { ProgressMessage } from '../image/registry/index.js';
import type { FrameStream } from './frame-stream.js';

/** Steps that wait for a slow reader; bars beyond them are left out, steps never are. */
const WAITING_MAX = 200;

/** Pulls what a manager asks for; progress goes up as it comes, the image at the end. */
export async function pullImage(
  registries: RegistryImages,
  request: ImagePullRequest,
  stream: FrameStream,
  stop: AbortController,
): Promise<void> {
  const progress = new ProgressFrames(stream, stop);
  const image = await registries.pull(request, (message) => progress.send(message), stop.signal);
  await progress.sent();
  await stream.write({ $case: 'imageLoaded', value: { image } });
}

export async function pushImage(
  registries: RegistryImages,
  request: ImagePushRequest,
  stream: FrameStream,
  stop: AbortController,
): Promise<void> {
  const progress = new ProgressFrames(stream, stop);
  await registries.push(request, (message) => progress.send(message), stop.signal);
  await progress.sent();
}

/** Progress on its way up, in order, without slowing what it tells of. */
class ProgressFrames {
  #waiting = 0;
  #sent: Promise<void> = Promise.resolve();

  constructor(
    private readonly stream: FrameStream,
    stop: AbortController,
  ) {
    // The asker's going ends the work: nobody else wants it.
    const gone = () => stop.abort(new DOMException('the asker has gone', 'AbortError'));
    stream.ended().then(gone, gone);
  }

  send(message: ProgressMessage): void {
    const isBar = message.progress !== undefined;
    if (isBar && this.#waiting >= WAITING_MAX) return;
    this.#waiting++;
    this.#sent = this.#sent
      .then(() => this.stream.write({ $case: 'progress', value: JSON.stringify(message) }))
      .finally(() => this.#waiting--);
    // Whether the reader is still there shows when the result is written.
    this.#sent.catch(() => undefined);
  }

  sent(): Promise<void> {
    return this.#sent;
  }
}
