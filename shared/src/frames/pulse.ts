import type { Clock } from '../env/index.js';

const BEAT_MS = 2_000;
/** Beats without a word, and the other end has gone. Counted, since a process that was stopped looks before it judges. */
const SILENT_MAX = 5;

/**
 * Tells an end that has gone without a word from one that has nothing to say: each says something every now and then.
 * TCP itself would send again and again for a quarter of an hour.
 */
export class Pulse {
  #silentCount = 0;
  #isListening = true;
  #cancel: (() => void) | undefined;
  #isStopped = false;

  /**
   * @param beat gives a sign of life
   * @param lost the other end gives none any more
   */
  constructor(
    private readonly clock: Clock,
    private readonly beat: () => void,
    private readonly lost: () => void,
  ) {}

  /** From the first word on, of whichever end. May be repeated. */
  start(): void {
    if (this.#isStopped) return;
    this.#cancel ??= this.clock.after(BEAT_MS, () => {
      this.#cancel = undefined;
      if (this.#isListening && ++this.#silentCount >= SILENT_MAX) return this.lost();
      this.beat();
      this.start();
    });
  }

  /** Something has come. */
  heard(): void {
    this.#silentCount = 0;
  }

  /** Whether what the other end says is taken: while it is not, its silence means nothing. */
  listen(isListening: boolean): void {
    if (isListening && !this.#isListening) this.#silentCount = 0;
    this.#isListening = isListening;
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel?.();
  }
}
