import type { Node, NodeStatus } from '@tessera/shared/model';
import { isConstraintKey, nodeValues } from './constraint.js';
import type { Expression } from './expression.js';

/**
 * Whether a node is as an expression wants it. Keys are the stand-alone Swarm's, which are a node's name or id, what its
 * engine says of itself, and labels; and Swarm mode's, `node.labels.zone` and its like.
 *
 * Source: docker/swarm scheduler/filter/constraint.go, cluster/engine.go
 */
export const meetsExpression = (
  expression: Expression,
  node: Node,
  status: NodeStatus | undefined,
): boolean => expression.matches(valuesOf(expression.key, node, status));

function valuesOf(key: string, node: Node, status: NodeStatus | undefined): readonly string[] {
  const description = status?.description;
  if (isConstraintKey(key)) return nodeValues(key, node, status);
  switch (key.toLowerCase()) {
    case 'node':
      return [node.id, node.name, description?.hostname ?? ''];
    case 'storagedriver':
      return ['overlayfs'];
    case 'executiondriver':
      return ['native'];
    case 'kernelversion':
      return [description?.kernel ?? ''];
    case 'operatingsystem':
      return [description?.operatingSystem ?? '', description?.os ?? ''];
    default:
      return [labelOf(description?.engineLabels, key) ?? labelOf(node.labels, key) ?? ''];
  }
}

/** The label of that name; where there is none, one that differs from it in case alone: Swarm saw keys in lower case. */
function labelOf(labels: Readonly<Record<string, string>> | undefined, key: string): string | undefined {
  if (!labels) return undefined;
  if (Object.hasOwn(labels, key)) return labels[key];
  const lower = key.toLowerCase();
  const found = Object.keys(labels).find((name) => name.toLowerCase() === lower);
  return found === undefined ? undefined : labels[found];
}
