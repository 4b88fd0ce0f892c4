import type { Task } from '@tessera/shared/model';
import type { View } from '../store/view.js';
import { getTask } from './lookup.js';
import type { ControlContext } from './ports.js';

/** What may be asked of tasks. They are made by orchestrators alone. */
export class Tasks {
  readonly #context: ControlContext;

  constructor(context: ControlContext) {
    this.#context = context;
  }

  async list(): Promise<{ readonly view: View; readonly tasks: readonly Task[] }> {
    const view = await this.#context.store.read();
    return { view, tasks: [...view.tasks.all()] };
  }

  async inspect(reference: string): Promise<{ readonly view: View; readonly task: Task }> {
    const view = await this.#context.store.read();
    return { view, task: getTask(view, reference) };
  }
}
