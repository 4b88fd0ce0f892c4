import type { Task, TaskSpec } from '@tessera/shared/model';
import { FILTERS, type Filter, type FilterContext } from './filters/index.js';
import type { NodeEntry } from './node-set.js';

interface Check {
  readonly filter: Filter;
  readonly accepts: (entry: NodeEntry) => boolean;
}

/** The filters that concern one task, ready to be asked of every node. */
export class Checks {
  readonly #checks: readonly Check[];
  readonly #dynamic: readonly Check[];

  constructor(task: Task, spec: TaskSpec, context: FilterContext, filters: readonly Filter[] = FILTERS) {
    this.#checks = filters.flatMap((filter) => {
      const accepts = filter.forTask(task, spec, context);
      return accepts ? [{ filter, accepts }] : [];
    });
    this.#dynamic = this.#checks.filter(({ filter }) => filter.isDynamic);
  }

  /** The first filter that turns the node down; undefined when none does. */
  refusalOf(entry: NodeEntry): Filter | undefined {
    for (const { filter, accepts } of this.#checks) if (!accepts(entry)) return filter;
    return undefined;
  }

  /** Whether a node that all filters let pass still fits after another task of the group was put on it. */
  stillFits(entry: NodeEntry): boolean {
    return this.#dynamic.every(({ accepts }) => accepts(entry));
  }

  /**
   * Why none of these nodes may run the task, most common reason first.
   *
   * Source: swarmkit's texts, "no suitable node (insufficient resources on 2 nodes)"
   */
  explain(entries: readonly NodeEntry[]): string {
    const refused = new Map<Filter, number>();
    for (const entry of entries) {
      const filter = this.refusalOf(entry);
      if (filter) refused.set(filter, (refused.get(filter) ?? 0) + 1);
    }
    const reasons = this.#checks
      .flatMap(({ filter }) => {
        const count = refused.get(filter) ?? 0;
        return count > 0 ? [{ count, text: filter.explain(count) }] : [];
      })
      // Stable: of equally common reasons the filter asked first comes first.
      .sort((a, b) => b.count - a.count)
      .map(({ text }) => text);
    return reasons.length > 0 ? `no suitable node (${reasons.join('; ')})` : 'no suitable node';
  }
}
