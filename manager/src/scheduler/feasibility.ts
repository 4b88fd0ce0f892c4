import type { Task, TaskSpec } from '@tessera/shared/model';
import { type Check, FILTERS, type Filter, type FilterContext } from './filters/index.js';
import type { NodeEntry } from './node-set.js';

/** One check, and the filter that made it. */
export interface Question {
  readonly filter: Filter;
  readonly check: Check;
}

/** The filters that concern one task, ready to be asked of every node. */
export class Checks {
  readonly #questions: readonly Question[];
  readonly #dynamic: readonly Question[];

  constructor(task: Task, spec: TaskSpec, context: FilterContext, filters: readonly Filter[] = FILTERS) {
    this.#questions = filters.flatMap((filter) =>
      filter.forTask(task, spec, context).map((check) => ({ filter, check })),
    );
    this.#dynamic = this.#questions.filter(({ filter }) => filter.isDynamic);
  }

  /** The first question that the node fails; undefined when there is none. */
  refusalOf(entry: NodeEntry): Question | undefined {
    return this.#questions.find(({ check }) => !check.accepts(entry));
  }

  /** Whether a node that all filters let pass still fits after another task of the group was put on it. */
  stillFits(entry: NodeEntry): boolean {
    return this.#dynamic.every(({ check }) => check.accepts(entry));
  }

  /**
   * Why none of these nodes may run the task, most common reason first.
   *
   * Source: swarmkit's texts, "no suitable node (insufficient resources on 2 nodes)"
   */
  explain(entries: readonly NodeEntry[]): string {
    const refused = new Map<Question, number>();
    for (const entry of entries) {
      const question = this.refusalOf(entry);
      if (question) refused.set(question, (refused.get(question) ?? 0) + 1);
    }
    const reasons = this.#questions
      .flatMap((question) => {
        const count = refused.get(question) ?? 0;
        return count > 0 ? [{ count, text: question.check.explain(count) }] : [];
      })
      // Stable: of equally common reasons the one asked first comes first.
      .sort((a, b) => b.count - a.count)
      .map(({ text }) => text);
    return reasons.length > 0 ? `no suitable node (${reasons.join('; ')})` : 'no suitable node';
  }
}
