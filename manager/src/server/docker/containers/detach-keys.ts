import { invalid } from '@tessera/shared/errors';

const CTRL_P = 16;
const CTRL_Q = 17;
/** What `ctrl-` may stand before, beside letters: their codes follow 26. Source: moby/term, ascii.go. */
const SIGNS = new Map([
  ['@', 0],
  ['[', 27],
  ['\\', 28],
  [']', 29],
  ['^', 30],
  ['_', 31],
]);

/** `ctrl-p,ctrl-q`, `a,b`; empty: Docker's own. @throws ClusterError `invalidArgument` */
export function parseDetachKeys(text: string): readonly number[] {
  if (text === '') return [CTRL_P, CTRL_Q];
  return text.split(',').map((key) => {
    if (key.length === 1) return key.charCodeAt(0);
    const [, sign = ''] = /^ctrl-(.)$/i.exec(key) ?? [];
    const letter = sign.toLowerCase().charCodeAt(0) - 96;
    const code = letter >= 1 && letter <= 26 ? letter : SIGNS.get(sign);
    if (code === undefined) throw invalid(`Invalid detach keys (${text}) provided: '${key}' is not a key`);
    return code;
  });
}

/** Finds the keys that detach in what is typed, and holds back what may be their beginning. */
export class DetachFilter {
  #held: number[] = [];
  isDetached = false;

  constructor(private readonly keys: readonly number[]) {}

  /** What of `chunk`, and of what was held back, is meant for the program. */
  pass(chunk: Uint8Array): Uint8Array {
    const out: number[] = [];
    for (const byte of chunk) {
      if (byte === this.keys[this.#held.length]) {
        this.#held.push(byte);
        if (this.#held.length < this.keys.length) continue;
        this.isDetached = true;
        break;
      }
      out.push(...this.#held);
      // The byte that broke the sequence may begin it anew.
      this.#held = byte === this.keys[0] ? [byte] : [];
      if (this.#held.length === 0) out.push(byte);
      else if (this.keys.length === 1) this.isDetached = true;
    }
    return Uint8Array.from(out);
  }
}
