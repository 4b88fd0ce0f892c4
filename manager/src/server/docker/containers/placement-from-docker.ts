import { invalid } from '@tessera/shared/errors';

// How users of the stand-alone Swarm say where a container may run: in its environment, or in labels.
// Source: docker/swarm cluster/config.go.

const LABELS = 'com.docker.swarm.';
const WORDS = /^(constraint|affinity|reschedule):(.*)$/s;

export interface Placing {
  readonly constraints: string[];
  /** The environment without those words. */
  readonly env: string[];
}

/** @throws ClusterError `invalidArgument`, naming what is not honoured yet */
export function placingFromDocker(env: readonly string[], labels: Readonly<Record<string, string>>): Placing {
  const constraints: string[] = [];
  const kept: string[] = [];
  for (const entry of env) {
    const [, word, expression = ''] = WORDS.exec(entry) ?? [];
    if (word === undefined) kept.push(entry);
    else if (word === 'constraint') constraints.push(constraint(expression, `Env: ${entry}`));
    else throw later(`Env: ${entry}`, word);
  }
  for (const expression of listLabel(labels, 'constraints'))
    constraints.push(constraint(expression, `Labels.${LABELS}constraints`));
  for (const [name, word] of [
    ['affinities', 'affinity'],
    ['reschedule-policies', 'reschedule'],
  ] as const)
    if (listLabel(labels, name).length > 0) throw later(`Labels.${LABELS}${name}`, word);
  return { constraints, env: kept };
}

/** `node==host1` and `storage!=disk`: a node's name, or a label of its engine. */
function constraint(expression: string, where: string): string {
  const [, key = '', operator = '', value = ''] = /^([A-Za-z0-9_.-]+)(==|!=)(.+)$/s.exec(expression) ?? [];
  if (key === '' || value.startsWith('~') || /[*?/]/.test(value))
    throw invalid(
      `${where}: '${expression}' is not supported; write KEY==VALUE or KEY!=VALUE, without patterns`,
    );
  const known = key.startsWith('node.') || key.startsWith('engine.labels.');
  const full = known ? key : key === 'node' ? 'node.hostname' : `engine.labels.${key}`;
  return `${full}${operator}${value}`;
}

function listLabel(labels: Readonly<Record<string, string>>, name: string): string[] {
  const text = labels[LABELS + name];
  if (!text) return [];
  try {
    const list: unknown = JSON.parse(text);
    if (Array.isArray(list) && list.every((item) => typeof item === 'string')) return list;
  } catch {
    // Falls through to the one message for both.
  }
  throw invalid(`Labels.${LABELS}${name}: '${text}' must be a JSON list of texts, such as ["node==host1"]`);
}

const later = (where: string, word: string) =>
  invalid(`${where}: '${word}' is not supported yet; leave it out or use a constraint`);
