import type { Random } from '../env/index.js';

/** Repeatable chance (mulberry32). Each component takes a stream of its own, named, from the one seed. */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number, name = '') {
    this.#state = seed >>> 0;
    for (const char of name) this.#state = Math.imul(this.#state ^ char.charCodeAt(0), 0x01000193) >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => Math.floor(this.next() * 256)));
  }
}
