import { ClusterError, invalid } from '@tessera/shared/errors';
import { z } from 'zod';
import type { ExecCalls } from '../../../controlapi/containers/index.js';
import { type ApiRequest, empty, type Hijack, json, type Reply, type Route, route } from '../../route.js';
import { flag, parseBody, strictObject, text, texts } from '../json-edge.js';
import { parseDetachKeys } from './detach-keys.js';
import { consoleSize } from './schema.js';
import { sizeOf } from './size.js';
import { joined, ready } from './streams.js';

/** The API version that made something of it. */
const CONSOLE_SIZE_SINCE = 142;

const createBody = strictObject({
  User: text,
  Privileged: flag,
  Tty: flag,
  ConsoleSize: consoleSize,
  AttachStdin: flag,
  AttachStderr: flag,
  AttachStdout: flag,
  // Clients say it here as well as at the start, where it counts.
  Detach: flag,
  DetachKeys: text,
  // docker-py's spelling, and what it says beside the path.
  detachKeys: text,
  Container: text,
  Env: texts,
  WorkingDir: text,
  Cmd: z.union([z.string().transform((word) => [word]), z.array(z.string())]).nullish(),
});
/** The last two are dockerode's notes to itself, which it sends along. */
const startBody = strictObject({
  Detach: flag,
  Tty: flag,
  ConsoleSize: consoleSize,
  hijack: z.unknown().optional(),
  stdin: z.unknown().optional(),
});

/** `/containers/:id/exec` and `/exec`. */
export function execRoutes(execs: ExecCalls): Route[] {
  return [
    route('POST', '/containers/:id/exec', async ({ params, body, version, signal }) => {
      const asked = parseBody('exec', createBody, body);
      if (!asked.Cmd?.length) throw invalid('No exec command specified');
      const detachKeys = asked.DetachKeys ?? asked.detachKeys ?? '';
      parseDetachKeys(detachKeys);
      const id = await execs.create(
        params.id!,
        {
          command: asked.Cmd,
          env: asked.Env ?? [],
          user: asked.User ?? '',
          dir: asked.WorkingDir ?? '',
          tty: asked.Tty ?? false,
          attachStdin: asked.AttachStdin ?? false,
          attachStdout: asked.AttachStdout ?? false,
          attachStderr: asked.AttachStderr ?? false,
          privileged: asked.Privileged ?? false,
          detachKeys,
          ...consoleSizeOf(asked, version),
        },
        signal,
      );
      return json(201, { Id: id });
    }),

    {
      kind: 'hijack',
      method: 'POST',
      pattern: '/exec/:id/start',
      handle: (request) => start(execs, request),
    },

    route('POST', '/exec/:id/resize', async ({ params, query, signal }) => {
      await execs.resize(params.id!, sizeOf(query), signal);
      return empty(200);
    }),

    route('GET', '/exec/:id/json', async ({ params, signal }) => {
      const { state, container } = await execs.inspect(params.id!, signal);
      const { spec } = state;
      const [entrypoint = '', ...args] = spec?.command ?? [];
      return json(200, {
        ID: params.id!,
        Running: state.running,
        ExitCode: state.exitCode ?? null,
        ProcessConfig: {
          tty: spec?.tty ?? false,
          entrypoint,
          arguments: args,
          privileged: spec?.privileged ?? false,
          ...(spec?.user ? { user: spec.user } : {}),
        },
        OpenStdin: spec?.attachStdin ?? false,
        OpenStderr: spec?.attachStderr ?? false,
        OpenStdout: spec?.attachStdout ?? false,
        CanRemove: false,
        ContainerID: container.id,
        DetachKeys: spec?.detachKeys ?? '',
        Pid: state.pid,
      });
    }),
  ];
}

async function start(
  execs: ExecCalls,
  { params, body, version, signal }: ApiRequest,
): Promise<Hijack | Reply> {
  const asked = parseBody('exec start', startBody, body);
  const detach = asked.Detach ?? false;
  const tty = asked.Tty ?? false;
  const detachKeys = parseDetachKeys(tty && !detach ? await detachKeysOf(execs, params.id!, signal) : '');
  const stream = await execs.start(params.id!, { detach, ...consoleSizeOf(asked, version) }, signal);
  if (!detach) {
    const hijack = await joined(stream, { version, tty, stdin: true, detachKeys });
    return { ...hijack, ...(tty ? { onError: lineOfTerminal } : {}) };
  }
  try {
    await ready(stream.frames[Symbol.asyncIterator]());
  } catch (error) {
    if (error instanceof ClusterError) throw error;
    throw new ClusterError('unavailable', 'the node did not start the command', { cause: error });
  } finally {
    stream.close();
  }
  return empty(200);
}

/** Said when it was created, perhaps to another manager. */
async function detachKeysOf(execs: ExecCalls, execId: string, signal: AbortSignal): Promise<string> {
  const { state } = await execs.inspect(execId, signal);
  return state.spec?.detachKeys ?? '';
}

/** Height and width, of a terminal alone. Source: moby api/server/router/container/exec.go. */
function consoleSizeOf(
  {
    Tty,
    ConsoleSize,
  }: { readonly Tty?: unknown; readonly ConsoleSize?: readonly number[] | null | undefined },
  version: number,
): { readonly rows: number; readonly columns: number } {
  const [rows = 0, columns = 0] = Tty && version >= CONSOLE_SIZE_SINCE ? (ConsoleSize ?? []) : [];
  return { rows, columns };
}

/** As dockerd says to a terminal why a command could not be run. */
const lineOfTerminal = (message: string): Uint8Array => Buffer.from(`${message}\r\n`);
