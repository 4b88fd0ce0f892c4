import { ClusterError, invalid } from '@tessera/shared/errors';
import { Placement } from '@tessera/shared/model';
import { parseExpression } from '../../../constraints/index.js';

// How users of the stand-alone Swarm say where a container may run, and whether it may move: in its environment, or in
// labels. Either way the labels tell it afterwards, and the container's environment has none of it.
// Source: docker/swarm cluster/config.go

const LABELS = {
  constraint: 'com.docker.swarm.constraints',
  affinity: 'com.docker.swarm.affinities',
  reschedule: 'com.docker.swarm.reschedule-policies',
} as const;
type Word = keyof typeof LABELS;
const ENTRY = /^(constraint|affinity|reschedule):(.*)$/s;
const POLICIES = ['off', 'on-node-failure'];
/** Each is asked of every node. */
const EXPRESSIONS_MAX = 64;

export interface Placing {
  readonly placement: Placement;
  readonly rescheduleOnNodeFailure: boolean;
  /** The environment without those words. */
  readonly env: string[];
  /** With all of them. */
  readonly labels: Record<string, string>;
}

/** @throws ClusterError `invalidArgument` that names the entry or the label */
export function placingFromDocker(
  env: readonly string[],
  givenLabels: Readonly<Record<string, string>>,
): Placing {
  const labels: Record<string, string> = { ...givenLabels };
  const said: Record<Word, string[]> = { constraint: [], affinity: [], reschedule: [] };
  for (const [word, label] of Object.entries(LABELS) as [Word, string][])
    for (const text of listIn(labels, label)) said[word].push(checked(word, text, `Labels.${label}`));
  const kept = env.filter((entry) => {
    const [, word, text = ''] = ENTRY.exec(entry) ?? [];
    if (word === undefined) return true;
    said[word as Word].push(checked(word as Word, text, `Env: ${entry}`));
    return false;
  });
  for (const [word, label] of Object.entries(LABELS) as [Word, string][])
    if (said[word].length > 0) labels[label] = JSON.stringify(said[word]);
  if (said.reschedule.length > 1) throw invalid('too many reschedule policies');
  if (said.constraint.length + said.affinity.length > EXPRESSIONS_MAX)
    throw invalid(`more than ${EXPRESSIONS_MAX} constraints and affinities`);
  return {
    placement: Placement.fromPartial({
      nodeExpressions: said.constraint,
      affinityExpressions: said.affinity,
    }),
    rescheduleOnNodeFailure: said.reschedule[0] === 'on-node-failure',
    env: kept,
    labels,
  };
}

function checked(word: Word, text: string, where: string): string {
  if (word === 'reschedule') {
    if (!POLICIES.includes(text)) throw invalid(`${where}: invalid reschedule policy: ${text}`);
    return text;
  }
  try {
    parseExpression(text);
  } catch (error) {
    throw error instanceof ClusterError ? invalid(`${where}: ${error.message}`) : error;
  }
  return text;
}

function listIn(labels: Readonly<Record<string, string>>, label: string): string[] {
  const text = labels[label];
  if (!text) return [];
  try {
    const list: unknown = JSON.parse(text);
    if (Array.isArray(list) && list.every((item) => typeof item === 'string')) return list;
  } catch {
    // Falls through to the one message for both.
  }
  throw invalid(`Labels.${label}: '${text}' must be a JSON list of texts, such as ["node==host1"]`);
}
