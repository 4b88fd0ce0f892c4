import { type Expression, meetsExpression, parseExpression } from '../../constraints/index.js';
import type { NodeEntry } from '../node-set.js';
import { neighbourhood } from './affinity.js';
import { type Check, type Filter, type FilterContext, onNodes } from './filter.js';

// What the stand-alone Swarm's users write: `-e constraint:storage==ssd`, `-e affinity:container!=web`.

/** One wish of the user's, and whether a node is as it says. */
export interface Wish {
  readonly expression: Expression;
  readonly kind: 'constraint' | 'affinity';
  isMetBy(entry: NodeEntry): boolean;
}

interface Wishes {
  readonly nodeExpressions: readonly string[];
  readonly affinityExpressions: readonly string[];
}

/** @throws ClusterError `invalidArgument` for what is no expression */
export function wishesOf(placement: Wishes | undefined, context: FilterContext): readonly Wish[] {
  if (!placement) return [];
  const { nodeExpressions, affinityExpressions } = placement;
  return [
    ...nodeExpressions.map(parseExpression).map(
      (expression): Wish => ({
        expression,
        kind: 'constraint',
        isMetBy: ({ node, status }) => meetsExpression(expression, node, status),
      }),
    ),
    ...affinityExpressions.map(parseExpression).map(
      (expression): Wish => ({
        expression,
        kind: 'affinity',
        isMetBy: (entry) => expression.matches(neighbourhood(expression, entry, context)),
      }),
    ),
  ];
}

/** The node meets every constraint and affinity that is not soft. Soft ones count in the score. */
export const expressionFilter: Filter = {
  name: 'expressions',
  isDynamic: false,
  forTask: (_task, spec, context) =>
    wishesOf(spec.placement, context)
      .filter(({ expression }) => !expression.isSoft)
      .map(
        ({ kind, expression, isMetBy }): Check => ({
          accepts: isMetBy,
          explain: (nodeCount) => `${kind} ${expression.text} not satisfied ${onNodes(nodeCount)}`,
        }),
      ),
};
