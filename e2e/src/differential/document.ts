import { readFileSync, writeFileSync } from 'node:fs';
import { type ApiServerDeps, apiRoutes, containerFields, type Route, Router } from '@tessera/manager/server';
import { openMemoryStore } from '@tessera/manager/store/testing';
import { silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { ROOT } from '../lab/paths.js';
import { API_VERSION, type Case, stepsOf, titleOf } from './case.js';
import { DIFFERENCES } from './differences.js';
import { ENDPOINTS } from './endpoints.js';
import { NORMALISATIONS } from './normalise.js';
import { SUBJECTS, TABLE } from './table.js';

const FILE = `${ROOT}docs/docker-api.md`;

export const readDocument = (): string => readFileSync(FILE, 'utf8');
export const writeDocument = async (): Promise<void> => writeFileSync(FILE, await apiDocument());

/** `docs/docker-api.md`: every endpoint and field, as routes, schemas and the table of cases have it. */
export async function apiDocument(): Promise<string> {
  return [
    `# The Docker API, endpoint by endpoint

Written by \`npm run gen:docs\` from the routes, the schemas of requests, and the table of cases that \`npm test\` plays on a
real dockerd (20.10) and on three hosts as one engine, and compares with what a newer one (26.1) answered
(\`npm run differential\`). **done**: as Docker has it. **differs**: done, but for what is said. **refused**: answered
by an error that says so.`,
    await endpointsPart(),
    fieldsPart(),
    everywherePart(),
    normalisationsPart(),
    casesPart(),
    '',
  ]
    .join('\n\n')
    .trimEnd()
    .concat('\n');
}

const row = (...cells: readonly string[]): string => `| ${cells.map(escaped).join(' | ')} |`;
const escaped = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
const table = (head: readonly string[], rows: readonly string[]): string =>
  [row(...head), `|${head.map(() => ' --- |').join('')}`, ...rows].join('\n');
const unique = (texts: readonly string[]): string[] => [...new Set(texts)];

async function endpointsPart(): Promise<string> {
  const store = await openMemoryStore(systemClock);
  // Routes are only looked at, never asked.
  const deps = {
    store,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    nodeId: '',
    managerAddr: '',
    dataDir: '',
  } as unknown as ApiServerDeps;
  const router = new Router(apiRoutes(deps));
  const parts = Object.entries(ENDPOINTS).map(([subject, endpoints]) => {
    const rows = endpoints.map((endpoint) => {
      const [method = '', pattern = ''] = endpoint.split(' ');
      const { route } = router.find(method, pattern.replace(/:\w+/g, 'x'));
      return row(`\`${endpoint}\``, ...stateOf(endpoint, route));
    });
    return `### ${subject}\n\n${table(['Endpoint', 'State', 'What is to be known'], rows)}`;
  });
  return `## Endpoints\n\n${parts.join('\n\n')}`;
}

function stateOf(endpoint: string, route: Route | undefined): [string, string] {
  if (!route) return ['refused', '404: page not found'];
  if (route.kind === 'json' && route.refusal) return ['refused', route.refusal];
  const cases = TABLE.filter((one) => stepsOf(one.steps).some((step) => asks(titleOf(step), endpoint)));
  const differences = cases.flatMap(({ differs = [] }) =>
    differs.filter(({ at }) => at.startsWith(endpoint.split(' ')[0]!) && asks(at, endpoint)),
  );
  const awaited = cases.filter(({ awaits }) => awaits);
  const notes = [
    ...unique(differences.map(({ at, why }) => `${leafOf(at)}: ${why}`)),
    ...(cases.length === 0 ? ['not among the cases yet'] : []),
    ...(awaited.length > 0 && awaited.length === cases.length ? [`awaits ${awaited[0]!.awaits}`] : []),
  ];
  return [differences.length > 0 ? 'differs' : 'done', notes.join('; ')];
}

/** Whether a step, or what a difference is at, is a request of this endpoint. */
function asks(text: string, endpoint: string): boolean {
  const pattern = endpoint.replace(/[.]/g, '\\.').replace(/:(id|name)/g, '[^ ?]+');
  return new RegExp(`^${pattern}(\\*|\\?|\\s|$)`).test(text);
}

/** `body.message` of `POST /containers/create?name=$c body.message`. */
const leafOf = (at: string): string => {
  const leaf = /(?:^| )(status|end|body\S*|header \S+|frames \S+|\*)$/.exec(at)?.[1] ?? '*';
  return leaf === '*' ? 'the whole answer' : `\`${leaf}\``;
};

function fieldsPart(): string {
  const compared = new Map<string, Case[]>();
  for (const one of SUBJECTS['fields of a create body']!) {
    const path = one.name.replace(/ \d+$/, '');
    compared.set(path, [...(compared.get(path) ?? []), one]);
  }
  const rows = containerFields().map(({ path, refusal }) => {
    const cases = compared.get(path) ?? [];
    const awaited = cases.find(({ awaits }) => awaits)?.awaits;
    const why = unique(cases.flatMap(({ differs = [] }) => differs.map((difference) => difference.why)));
    if (refusal) return row(`\`${path}\``, 'refused', refusal);
    const note = [...why, ...(awaited ? [`awaits ${awaited}`] : [])].join('; ');
    return row(`\`${path}\``, why.length > 0 || awaited ? 'differs' : 'done', note);
  });
  return `## Fields of the body of \`POST /containers/create\`

Each is sent by itself, with values that are right and values that are not, and read back by inspect. A field that is
not here is refused as unknown.

${table(['Field', 'State', 'Why'], rows)}`;
}

const everywherePart = (): string => `## Differences everywhere

${table(
  ['Where', 'Why'],
  DIFFERENCES.map(({ at, why }) => row(`\`${at}\``, why)),
)}`;

const normalisationsPart = (): string => `## What is not compared

${table(
  ['Taken for', 'Why', 'Where'],
  NORMALISATIONS.map(({ becomes, why, at }) =>
    row(`\`${becomes}\``, why, at ? `\`${at.source}\`` : 'everywhere'),
  ),
)}`;

function casesPart(): string {
  const parts = Object.entries(SUBJECTS)
    .filter(([subject]) => subject !== 'fields of a create body')
    .map(([subject, cases]) => {
      const rows = cases.map(({ name, proves, versions = [API_VERSION], differs = [], awaits }) => {
        const notes = [
          ...differs.map(({ at, why }) => `\`${at}\`: ${why}`),
          ...(awaits ? [`awaits ${awaits}`] : []),
        ];
        return row(name, proves, versions.join(', '), unique(notes).join('; '));
      });
      return `### ${subject}\n\n${table(['Case', 'Docker', 'API', 'Differs, and why'], rows)}`;
    });
  return `## Cases\n\n${parts.join('\n\n')}`;
}
