import { invalid } from '@tessera/shared/errors';
import type { Node, NodeStatus } from '@tessera/shared/model';
import ipaddr from 'ipaddr.js';

/** One placement constraint: `node.labels.zone == a`. */
export interface Constraint {
  readonly key: string;
  readonly operator: '==' | '!=';
  readonly value: string;
}

const NODE_LABELS = 'node.labels.';
const ENGINE_LABELS = 'engine.labels.';
const OPERATORS = ['==', '!='] as const;
const KEY = /^[a-z_][a-z0-9\-_.]+$/i;
// Letters, digits and some signs; none that an operator to come may want ('>', '<', '~').
const VALUE = /^[a-z0-9:\-_\s.*()?+[\]\\^$|/]+$/i;

/**
 * Reads constraints as the user wrote them.
 *
 * @throws ClusterError `invalidArgument`, in Swarm's words
 * Source: swarmkit manager/constraint, so that what parses there parses here
 */
export function parseConstraints(expressions: readonly string[]): Constraint[] {
  return expressions.map((expression) => {
    const operator = OPERATORS.find((candidate) => expression.includes(candidate));
    if (!operator) throw invalid(`constraint expected one operator from ${OPERATORS.join(', ')}`);

    const at = expression.indexOf(operator);
    const key = expression.slice(0, at).trim();
    const value = expression.slice(at + operator.length).trim();
    if (!KEY.test(key)) throw invalid(`key '${key}' is invalid`);
    if (!VALUE.test(value)) throw invalid(`value '${value}' is invalid`);
    return { key, operator, value };
  });
}

/** The keys a node can be asked for; one that ends in a dot takes a label's name. */
export const CONSTRAINT_KEYS: readonly string[] = [
  'node.id',
  'node.hostname',
  'node.role',
  'node.platform.os',
  'node.platform.arch',
  'node.ip',
  NODE_LABELS,
  ENGINE_LABELS,
];

/** Whether any node could ever meet a constraint with this key; the key's case does not matter. */
export function isConstraintKey(key: string): boolean {
  const lower = key.toLowerCase();
  return CONSTRAINT_KEYS.some((known) =>
    known.endsWith('.') ? lower.startsWith(known) && lower.length > known.length : lower === known,
  );
}

/** Whether a node meets all of them. An unknown key is met by no node; an absent label counts as empty. */
export function meetsConstraints(
  constraints: readonly Constraint[],
  node: Node,
  status: NodeStatus | undefined,
): boolean {
  return constraints.every((constraint) => meets(constraint, node, status));
}

function meets(constraint: Constraint, node: Node, status: NodeStatus | undefined): boolean {
  const { key, operator, value } = constraint;
  if (!isConstraintKey(key)) return false;
  if (key.toLowerCase() === 'node.ip') return isAddressIn(value, status?.addr ?? '') === (operator === '==');
  return compare(constraint, ...nodeValues(key, node, status));
}

/** What a node is by one of the keys, under each of its names; an absent label counts as empty. */
export function nodeValues(key: string, node: Node, status: NodeStatus | undefined): readonly string[] {
  const lower = key.toLowerCase();
  const description = status?.description;
  switch (lower) {
    case 'node.id':
      return [node.id];
    case 'node.hostname':
      return [description?.hostname ?? ''];
    case 'node.role':
      return [node.role];
    case 'node.platform.os':
      return [description?.os ?? ''];
    case 'node.platform.arch':
      return architectureNames(description?.architecture ?? '');
    case 'node.ip':
      return [status?.addr ?? ''];
  }
  // The label's own name keeps its case; only the prefix does not matter.
  const labels = lower.startsWith(NODE_LABELS) ? node.labels : description?.engineLabels;
  return [
    labels?.[key.slice(lower.startsWith(NODE_LABELS) ? NODE_LABELS.length : ENGINE_LABELS.length)] ?? '',
  ];
}

/** Values are compared without regard to case, as Swarm does. */
function compare({ operator, value }: Constraint, ...actual: readonly string[]): boolean {
  const isEqual = actual.some((candidate) => candidate.toLowerCase() === value.toLowerCase());
  return operator === '==' ? isEqual : !isEqual;
}

const ARCHITECTURES: readonly (readonly string[])[] = [
  ['x86_64', 'amd64'],
  ['aarch64', 'arm64'],
  ['armv7l', 'arm'],
];

/** The names one architecture goes by: `x86_64` is `amd64` to images and users. */
export function architectureNames(name: string): readonly string[] {
  return ARCHITECTURES.find((names) => names.includes(name.toLowerCase())) ?? [name];
}

/** What a task is for; an empty part is any. */
export interface WantedPlatform {
  readonly os: string;
  readonly architecture: string;
}

/**
 * Whether a node runs one of the platforms, where any are named. One that has not said what it is turns nothing down.
 *
 * Source: swarmkit manager/scheduler/filter.go, PlatformFilter
 */
export function runsOneOf(wanted: readonly WantedPlatform[], status: NodeStatus | undefined): boolean {
  const { os = '', architecture = '' } = status?.description ?? {};
  if (wanted.length === 0 || architecture === '') return true;
  const names = architectureNames(architecture);
  return wanted.some(
    (each) =>
      (each.os === '' || os === '' || each.os.toLowerCase() === os) &&
      (each.architecture === '' || names.includes(each.architecture.toLowerCase())),
  );
}

/** @param range an address or a CIDR */
function isAddressIn(range: string, address: string): boolean {
  if (!ipaddr.isValid(address)) return false;
  const parsed = ipaddr.process(address);
  if (ipaddr.isValid(range)) return parsed.toString() === ipaddr.process(range).toString();
  if (!ipaddr.isValidCIDR(range)) return false;
  const [network, prefix] = ipaddr.parseCIDR(range);
  return network.kind() === parsed.kind() && parsed.match(network, prefix);
}
