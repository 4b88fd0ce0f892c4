import { ClusterError, errorText, invalid } from '@tessera/shared/errors';
import {
  type ContainerCalls,
  type Containers,
  isRunning,
  type KnownContainer,
  sizesOf,
  type WaitCondition,
} from '../../../controlapi/containers/index.js';
import { type ControlContext, signalNumber } from '../../../controlapi/index.js';
import {
  type ApiRequest,
  empty,
  json,
  type Reply,
  type Route,
  route,
  type StreamReply,
} from '../../route.js';
import { Filters } from '../filters.js';
import { isTrue } from '../json-edge.js';
import { timeOf } from '../time-filter.js';
import { effectiveConfig } from './effective-config.js';
import { containerFromDocker, graceMs, updateFromDocker, warningsFromDocker } from './from-docker.js';
import { inspectToDocker } from './inspect.js';
import { parseListQuery, selectContainers, sizeToDocker, summaryToDocker } from './list.js';

const SIGKILL = 9;
/** Since these API versions. */
const SIGNAL_OF_STOP = 142;
const WAIT_CONDITIONS: readonly WaitCondition[] = ['not-running', 'next-exit', 'removed'];

/** `/containers`, Docker Engine API v1.24 and later, as far as it is not a stream. */
export function containerRoutes(
  containers: Containers,
  calls: ContainerCalls,
  context: ControlContext,
): Route[] {
  const verb = (name: 'pause' | 'unpause') =>
    route('POST', `/containers/:id/${name}`, async ({ params, signal }) => {
      await containers.ask(params.id!, { verb: name }, signal);
      return empty(204);
    });

  return [
    route('GET', '/containers/json', async ({ query, signal }) => {
      const parsed = parseListQuery(query, isTrue);
      const found = selectContainers(await containers.list(), parsed);
      const sizes = parsed.size ? await sizesOf(calls, found, signal) : undefined;
      const nowMs = context.clock.now();
      return json(
        200,
        found.map((one) => summaryToDocker(one, nowMs, sizes?.get(one.container.id))),
      );
    }),

    route('POST', '/containers/create', async ({ query, body, version, signal }) => {
      const wanted = containerFromDocker(body, version);
      const name = (query.get('name') ?? '').replace(/^\//, '');
      const platform = query.get('platform') ?? '';
      const { id, warnings } = await containers.create({ ...wanted, name }, platform, signal);
      return json(201, { Id: id, Warnings: [...warningsFromDocker(body, version), ...warnings] });
    }),

    route('GET', '/containers/:id/json', async ({ params, query, signal }) => {
      const one = await containers.inspect(params.id!);
      const sizes = isTrue(query.get('size')) ? await sizesOf(calls, [one], signal) : undefined;
      const size = sizes?.get(one.container.id);
      return json(200, { ...inspectToDocker(one), ...(size ? sizeToDocker(size) : {}) });
    }),

    route('POST', '/containers/:id/start', async ({ params, query, signal }) => {
      if (query.get('checkpoint'))
        throw new ClusterError(
          'unimplemented',
          'checkpoint: checkpoints are not supported; leave --checkpoint out',
        );
      await containers.ask(params.id!, { verb: 'start' }, signal);
      return empty(204);
    }),

    route('POST', '/containers/:id/stop', async (request) => {
      await containers.ask(request.params.id!, { verb: 'stop', ...stopOptions(request) }, request.signal);
      return empty(204);
    }),

    route('POST', '/containers/:id/restart', async (request) => {
      await containers.ask(request.params.id!, { verb: 'restart', ...stopOptions(request) }, request.signal);
      return empty(204);
    }),

    verb('pause'),
    verb('unpause'),

    route('POST', '/containers/:id/kill', async ({ params, query, signal }) => {
      await kill(containers, calls, params.id!, query.get('signal') || 'SIGKILL', signal);
      return empty(204);
    }),

    route('DELETE', '/containers/:id', async ({ params, query, signal }) => {
      if (isTrue(query.get('link')))
        throw new ClusterError('unimplemented', 'link: links are a legacy of Docker; leave --link out');
      const options = { force: isTrue(query.get('force')), volumes: isTrue(query.get('v')) };
      await containers.remove(params.id!, options, signal);
      return empty(204);
    }),

    route('POST', '/containers/:id/rename', async ({ params, query }) => {
      await containers.rename(params.id!, query.get('name') ?? '');
      return empty(204);
    }),

    route('POST', '/containers/:id/update', async ({ params, body, signal }) => {
      const warnings = await containers.update(params.id!, updateFromDocker(body), signal);
      return json(200, { Warnings: warnings.length > 0 ? warnings : null });
    }),

    route('POST', '/containers/prune', async ({ query, signal }) =>
      prune(containers, context, query, signal),
    ),

    {
      kind: 'stream',
      method: 'POST',
      pattern: '/containers/:id/wait',
      handle: (request) => wait(containers, request),
    },
  ];
}

function stopOptions({ query, version }: ApiRequest) {
  const seconds = query.get('t');
  if (seconds && !/^-?\d{1,9}$/.test(seconds)) throw invalid(`t: '${seconds}' is no number of seconds`);
  const signal = version >= SIGNAL_OF_STOP ? (query.get('signal') ?? '') : '';
  if (signal) signalNumber(signal);
  return { stopSignal: signal, stopTimeoutMs: seconds ? graceMs(Number(seconds)) : undefined };
}

async function kill(
  containers: Containers,
  calls: ContainerCalls,
  reference: string,
  word: string,
  signal: AbortSignal,
): Promise<void> {
  const number = signalOf(reference, word);
  let one: KnownContainer;
  try {
    one = await containers.inspect(reference);
    await calls.call(one, { $case: 'kill', value: { signal: number } }, 'done', signal);
  } catch (error) {
    // As dockerd: the rest of the sentence is the cause's.
    if (error instanceof ClusterError)
      throw new ClusterError(error.kind, `cannot kill container: ${reference}: ${error.message}`);
    throw error;
  }
  if (number === SIGKILL && isRunning(one.state))
    await containers.ended(one.container.id, one.state.exits, signal);
}

/** As dockerd: what is no word for a signal is told alone, a number that is none as what became of the kill. */
function signalOf(reference: string, word: string): number {
  try {
    return signalNumber(word);
  } catch (error) {
    if (!/^\d+$/.test(word) || Number(word) === 0) throw error;
    throw invalid(`cannot kill container: ${reference}: ${errorText(error)}`);
  }
}

/** Its head is sent once the wait has been registered: a client starts the container only then. */
async function wait(containers: Containers, { params, query, signal }: ApiRequest): Promise<StreamReply> {
  const word = query.get('condition') || 'not-running';
  const condition = WAIT_CONDITIONS.find((known) => known === word);
  if (!condition) throw invalid(`invalid condition: "${word}"`);
  const { ended } = await containers.wait(params.id!, condition, signal);
  const line = (answer: object) => `${JSON.stringify(answer)}\n`;
  return {
    contentType: 'application/json',
    early: true,
    chunks: (async function* () {
      const { exitCode } = await ended;
      yield line({ StatusCode: exitCode });
    })(),
    onError: (message) => line({ StatusCode: -1, Error: { Message: message } }),
  };
}

async function prune(
  containers: Containers,
  { clock }: ControlContext,
  query: URLSearchParams,
  signal: AbortSignal,
): Promise<Reply> {
  const filters = Filters.parse(query.get('filters'), ['label', 'label!', 'until']);
  const untilMs = filters.get('until').map((text) => timeOf(text, clock.now()));
  const gone = await containers.prune((one) => {
    const { labels } = effectiveConfig(one.view, one.container);
    return (
      filters.labels('label', labels) &&
      (!filters.has('label!') || !filters.labels('label!', labels)) &&
      untilMs.every((atMs) => (one.container.meta?.createdAtMs ?? 0) < atMs)
    );
  }, signal);
  return json(200, { ContainersDeleted: gone.length > 0 ? gone : null, SpaceReclaimed: 0 });
}
