import type { ClientConnection } from '@tessera/shared/wire';
import type { SideStream } from './side-stream.js';

/** A client's connection that the agent of this host can be lent. */
export interface Lendable {
  /** Where the agent finds it. Of a request, nothing more is read here until it is taken back. */
  lend(): ClientConnection;
  /** @param isUntouched nothing has been read of it meanwhile */
  takeBack(isUntouched: boolean): void;
}

/** What a client sends, and where it can be had at its source. */
export type Upload = AsyncIterable<Uint8Array> & { readonly connection?: Lendable | undefined };

/** A connection that has been offered to an agent, until it is ours again. */
export class Lending {
  /** Whether the agent has taken it. */
  readonly answer: Promise<boolean>;
  #resolve: (isTaken: boolean) => void = () => {};
  #state: 'offered' | 'taken' | 'back' = 'offered';

  constructor(private readonly connection: Lendable) {
    this.answer = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** The stream's first frame. */
  offer(stream: SideStream): Promise<void> {
    return stream.write({ body: { $case: 'connection', value: this.connection.lend() } });
  }

  /** The agent says that it has it, or has it no more. */
  hear(isTaken: boolean): void {
    if (this.#state === 'offered' && isTaken) this.#state = 'taken';
    else this.takeBack();
    this.#resolve(isTaken);
  }

  /** May be repeated. */
  takeBack(): void {
    if (this.#state === 'back') return;
    const isUntouched = this.#state === 'offered';
    this.#state = 'back';
    this.connection.takeBack(isUntouched);
  }
}
