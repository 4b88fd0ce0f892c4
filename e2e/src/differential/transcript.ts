import type { CommandResult } from '../lab/command.js';
import type { Step } from './case.js';
import type { Answer } from './exchange.js';

/** What an engine answered to a step: a value for each leaf, such as `status`, `header ostype`, `body.State.Pid`. */
export type Leaves = Readonly<Record<string, unknown>>;

/** Headers that clients look at. */
const HEADERS = [
  'content-type',
  'api-version',
  'docker-experimental',
  'ostype',
  'server',
  'swarm',
  'builder-version',
  'cache-control',
  'pragma',
  'location',
  'upgrade',
  'connection',
  'x-docker-container-path-stat',
  'allow',
  'www-authenticate',
];

const MULTIPLEXED = /^application\/vnd\.docker\.(raw|multiplexed)-stream$/;
const FRAME_HEAD_BYTES = 8;
const STREAMS = ['stdin', 'stdout', 'stderr', 'systemerr'] as const;

export function leavesOfCommand(result: CommandResult, step: Step): Leaves {
  const { code, stderr } = result;
  if (step.kind === 'command' && step.sorted) {
    const stdout = result.stdout.split('\n').sort().join('\n');
    return { code, stdout, stderr };
  }
  const json = step.only || step.shape ? jsonOf(result.stdout) : undefined;
  if (json === undefined) return { code, stdout: result.stdout, stderr };
  return { code, stderr, ...leavesOfJson(json, 'stdout', step) };
}

export function leavesOfAnswer(answer: Answer, step: Step): Leaves {
  const leaves: Record<string, unknown> = { status: answer.status };
  if (answer.isCut) leaves.end = 'none within the time given';
  for (const name of HEADERS) {
    const value = answer.headers[name];
    // A connection that is kept open says so in some versions of HTTP libraries, and not in others.
    if (value !== undefined && !(name === 'connection' && !/upgrade/i.test(String(value))))
      leaves[`header ${name}`] = String(value);
  }
  const type = String(answer.headers['content-type'] ?? '').split(';')[0]!;
  if (type === 'application/json') {
    const json = jsonOf(answer.body.toString());
    return { ...leaves, ...leavesOfJson(json === undefined ? answer.body.toString() : json, 'body', step) };
  }
  // Statistics come without a type from dockerd.
  const untyped = type === '' ? jsonOf(answer.body.toString()) : undefined;
  if (typeof untyped === 'object') return { ...leaves, ...leavesOfJson(untyped, 'body', step) };
  const frames = MULTIPLEXED.test(type) || type === '' ? framesOf(answer.body) : undefined;
  if (frames) return { ...leaves, ...frames };
  if (type === 'application/x-tar')
    return { ...leaves, body: `${answer.body.length > 0 ? 'an' : 'no'} archive` };
  return { ...leaves, body: answer.body.toString() };
}

/** One document, or the documents on its lines; undefined for what is neither. */
function jsonOf(text: string): unknown {
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    try {
      return text
        .split('\n')
        .filter((line) => line.trim() !== '')
        .map((line) => JSON.parse(line) as unknown);
    } catch {
      return undefined;
    }
  }
}

/** What came on each stream of a multiplexed one; undefined where it is none. */
function framesOf(body: Buffer): Leaves | undefined {
  const texts: Record<string, string> = {};
  let at = 0;
  while (at < body.length) {
    const stream = STREAMS[body[at]!];
    if (!stream || at + FRAME_HEAD_BYTES > body.length || body.readUIntBE(at + 1, 3) !== 0) return undefined;
    const end = at + FRAME_HEAD_BYTES + body.readUInt32BE(at + 4);
    texts[`frames ${stream}`] =
      (texts[`frames ${stream}`] ?? '') + body.toString('utf8', at + FRAME_HEAD_BYTES, end);
    at = end;
  }
  return texts;
}

function leavesOfJson(json: unknown, path: string, { only, shape }: Pick<Step, 'only' | 'shape'>): Leaves {
  const leaves: Record<string, unknown> = {};
  const visit = (value: unknown, at: string): void => {
    if (Array.isArray(value) && value.length > 0) {
      // Of a list that measures the machine, one stands for all.
      (shape ? value.slice(0, 1) : value).forEach((item, index) => {
        visit(item, `${at}[${index}]`);
      });
    } else if (typeof value === 'object' && value !== null && Object.keys(value).length > 0) {
      for (const [key, member] of Object.entries(value)) visit(member, `${at}.${key}`);
    } else leaves[at] = shape ? typeOf(value) : value;
  };
  if (only && typeof json === 'object')
    for (const part of only) visit(memberOf(json, part), `${path}.${part}`);
  else visit(json, path);
  return leaves;
}

const typeOf = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value;

/** @param path `State.Health.Log[0].Output`; of a list, `[*].Names` gives that member of each */
export function memberOf(json: unknown, path: string): unknown {
  const at = path.indexOf('[*]');
  if (at >= 0) {
    const list = at === 0 ? json : memberOf(json, path.slice(0, at));
    const rest = path.slice(at + 3).replace(/^\./, '');
    return Array.isArray(list) ? list.map((item) => (rest ? memberOf(item, rest) : item)) : undefined;
  }
  let value: unknown = json;
  for (const part of path.match(/\/\/[^/]*|[^.[\]]+/g) ?? []) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}
