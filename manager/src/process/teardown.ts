import type { Logger } from '@tessera/shared/env';

/** What has been started, to be stopped in reverse order, however far the start came. */
export class Teardown implements AsyncDisposable {
  readonly #steps: { readonly name: string; readonly undo: () => void | Promise<void> }[] = [];

  constructor(private readonly logger: Logger) {}

  add(name: string, undo: () => void | Promise<void>): void {
    this.#steps.push({ name, undo });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { name, undo } of this.#steps.splice(0).reverse()) {
      try {
        await undo();
      } catch (error) {
        this.logger.warn({ error, part: name }, 'a part did not stop cleanly');
      }
    }
  }
}
