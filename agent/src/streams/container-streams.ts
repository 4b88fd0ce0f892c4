import { readFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { type Clock, delay, type Logger } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import {
  type ContainerAttachRequest,
  type ContainerCallRequest,
  type ContainerCallResult,
  type ContainerStatsRequest,
  ExecCreateCall,
  type ExecStartRequest,
  ExecState,
  type StreamRequest,
} from '@tessera/shared/wire';
import type { ContainerLoop, Containers, RuntimeContainer } from '../containers/index.js';
import type { TerminalSize } from '../executor/attachment.js';
import { StartError } from '../executor/executor.js';
import type { ExecRequest, ExecStatus } from '../executor/live-container.js';
import { joinClient } from './attached-client.js';
import { type CommitImage, changesCall, commitCall, serveArchive, statCall } from './file-streams.js';
import type { FrameStream } from './frame-stream.js';
import { statsFrame } from './stats-frame.js';
import { topTable, userNames } from './top-table.js';

type Kind = NonNullable<StreamRequest['kind']>;
type Result = NonNullable<ContainerCallResult['result']>;

/** Between two readings of counters; Docker's. */
const STATS_MS = 1_000;
/** How long a container waits for a foreground client, and its removal for any, that takes nothing at all. */
const PATIENCE_MS = 30_000;
const SIGKILL = 9;
const DONE: Result = { $case: 'done', value: {} };

export interface ContainerStreamsOptions {
  readonly containers: Containers;
  /** Absent: no images can be made here. */
  readonly commit?: CommitImage | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Serves what managers ask of containers that are no task's, beside the session. */
export class ContainerStreams {
  readonly #containers: Containers;

  constructor(private readonly options: ContainerStreamsOptions) {
    this.#containers = options.containers;
  }

  /** @returns whether it is a kind of its own; resolves once that has been served */
  async serve(kind: Kind, stream: FrameStream, stop: AbortController): Promise<boolean> {
    switch (kind.$case) {
      case 'containerAttach':
        await this.#attach(kind.value, stream, stop);
        return true;
      case 'execStart':
        await this.#exec(kind.value, stream, stop);
        return true;
      case 'containerStats':
        await this.#stats(kind.value, stream, stop);
        return true;
      case 'archive':
        await serveArchive(this.#containers.get(kind.value.containerId), kind.value, stream, stop);
        return true;
      case 'containerCall':
        await stream.write({
          $case: 'callResult',
          value: { result: await this.#call(kind.value, stop.signal) },
        });
        return true;
      default:
        return false;
    }
  }

  async #attach(request: ContainerAttachRequest, stream: FrameStream, stop: AbortController): Promise<void> {
    const { containerId, stdin, stdout, stderr, logs } = request;
    const loop = this.#containers.get(containerId);
    const { runtime } = loop;
    // A container of --rm stays until the client has been served to the end of its stream, or has gone.
    const release = this.#containers.attach(containerId);
    stop.signal.addEventListener('abort', release, { once: true });
    // Who attaches before the start runs it in the foreground: its output is theirs as a pipe's is its reader's.
    const isForeground = runtime.life.kind === 'created' || runtime.life.kind === 'exited';
    const patience = isForeground ? { wait: true, patienceMs: PATIENCE_MS } : {};
    const client = await runtime.attach({ stdout, stderr, history: logs, ...patience });
    loop.note('attach');
    await stream.write({ $case: 'ready', value: true });
    let taken = 0;
    void this.#releaseWhenStalled(runtime, () => taken, release, stop.signal);
    const input = {
      stdin,
      resize: (size: TerminalSize) => runtime.resize(size),
      onTaken: () => {
        taken++;
      },
    };
    await joinClient(client, stream, input, stop, this.options.logger);
  }

  /** Whoever takes nothing of what an ended container left does not keep it here for ever. */
  async #releaseWhenStalled(
    runtime: RuntimeContainer,
    taken: () => number,
    release: () => void,
    signal: AbortSignal,
  ): Promise<void> {
    let before: number | undefined;
    while (!signal.aborted) {
      await delay(this.options.clock, PATIENCE_MS, signal).catch(() => undefined);
      const now = runtime.life.kind === 'exited' ? taken() : undefined;
      if (now !== undefined && now === before) return release();
      before = now;
    }
  }

  /** Its end is known, and can be asked for, before the stream ends. */
  async #exec(
    { containerId, execId, detach, rows, columns }: ExecStartRequest,
    stream: FrameStream,
    stop: AbortController,
  ): Promise<void> {
    const loop = this.#containers.get(containerId);
    const exec = loop.runtime.exec(execId);
    const size = sizeOf(rows, columns);
    const begin = (streams?: { readonly stdout: boolean; readonly stderr: boolean }) => {
      loop.note(`exec_start: ${commandText(exec.status().request.args)}`, { execID: execId });
      return exec.start(streams, size).then((client) => {
        loop.followExec(exec);
        return client;
      });
    };
    if (detach) {
      await begin();
      return stream.write({ $case: 'ready', value: true });
    }
    const { request, state } = exec.status();
    if (state !== 'created') throw new ClusterError('conflict', `exec command ${execId} has already run`);
    await stream.write({ $case: 'ready', value: true });
    const client = await begin({ stdout: true, stderr: true }).catch(async (error: unknown) => {
      if (!(error instanceof StartError)) throw error;
      // As Docker: the client reads why, and then asks for the exit code.
      const data = Buffer.from(`${error.message}\r\n`);
      await stream.write({ $case: 'output', value: { stderr: false, data } });
    });
    if (!client) return;
    const input = {
      stdin: request.stdin,
      resize: (size: TerminalSize) => exec.resize(size),
    };
    await joinClient(client, stream, input, stop, this.options.logger);
    await exec.wait(stop.signal);
    await stream.write({ $case: 'execEnded', value: execState(exec.status(), containerId) });
  }

  async #stats(
    { containerId, stream: goesOn }: ContainerStatsRequest,
    stream: FrameStream,
    stop: AbortController,
  ): Promise<void> {
    const { runtime } = this.#containers.get(containerId);
    // The reader's going ends the reading, also while no counter is due.
    const gone = () => stop.abort(new DOMException('the reader has gone', 'AbortError'));
    stream.ended().then(gone, gone);
    for (;;) {
      await stream.write({ $case: 'stats', value: statsFrame(await runtime.stats()) });
      if (!goesOn) return;
      await delay(this.options.clock, STATS_MS, stop.signal);
      if (runtime.life.kind !== 'running' && runtime.life.kind !== 'paused') return;
    }
  }

  async #call({ containerId, call }: ContainerCallRequest, signal: AbortSignal): Promise<Result> {
    const loop = this.#containers.get(containerId);
    const { runtime } = loop;
    switch (call?.$case) {
      case 'kill':
        await kill(loop, call.value.signal);
        return DONE;
      case 'resize':
        await runtime.resize(call.value);
        loop.note('resize', { height: String(call.value.rows), width: String(call.value.columns) });
        return DONE;
      case 'top': {
        const users = userNames(await readFile('/etc/passwd', 'utf8').catch(() => ''));
        const host = { nowMs: this.options.clock.now(), users, memoryBytes: totalmem() };
        const processes = await runtime.top();
        loop.note('top');
        return { $case: 'top', value: topTable(processes, call.value.psArgs, host) };
      }
      case 'execCreate': {
        const { execId, command } = call.value;
        await runtime.createExec(execRequest(call.value), execId);
        loop.note(`exec_create: ${commandText(command)}`, { execID: execId });
        return DONE;
      }
      case 'execInspect':
        return { $case: 'exec', value: execState(runtime.exec(call.value.execId).status(), containerId) };
      case 'execResize':
        await runtime.exec(call.value.execId).resize(call.value);
        return DONE;
      case 'stat':
        return statCall(loop, call.value.path, signal);
      case 'changes':
        return changesCall(loop, signal);
      case 'commit':
        return commitCall(loop, call.value, this.options.commit, signal);
      case 'size':
        return { $case: 'size', value: { writtenBytes: await runtime.writtenBytes(signal) } };
      default:
        throw new ClusterError(
          'unimplemented',
          'this version of the agent does not know that question of a container',
        );
    }
  }
}

/** None where either side is 0, as programs take it. */
const sizeOf = (rows: number, columns: number): TerminalSize | undefined =>
  rows > 0 && columns > 0 ? { rows, columns } : undefined;

function execRequest(call: ExecCreateCall): ExecRequest {
  const { command: args, env, user, dir: workingDir, tty, attachStdin: stdin, privileged, detachKeys } = call;
  const size = sizeOf(call.rows, call.columns);
  return { args, env, user, workingDir, privileged, tty, stdin, size, detachKeys };
}

/** As events show it: the program, and after a space its arguments. */
const commandText = ([program = '', ...args]: readonly string[]): string => `${program} ${args.join(' ')}`;

function execState({ id, request, state, pid, exitCode }: ExecStatus, containerId: string): ExecState {
  const { args, env, user, workingDir, privileged, tty, stdin, detachKeys = '', size } = request;
  return ExecState.fromPartial({
    execId: id,
    containerId,
    spec: ExecCreateCall.fromPartial({
      execId: id,
      command: [...args],
      env: [...env],
      user,
      dir: workingDir,
      tty,
      attachStdin: stdin,
      attachStdout: true,
      attachStderr: true,
      privileged,
      detachKeys,
      ...size,
    }),
    running: state === 'running',
    ...(exitCode === undefined ? {} : { exitCode }),
    pid,
  });
}

/** A signal that is its stop signal, or cannot be told from one, keeps it down. Source: moby, daemon/kill.go. */
async function kill(loop: ContainerLoop, signal: number): Promise<void> {
  const { stopSignal = '' } = loop.assignment.container?.spec ?? {};
  await loop.kill(signal, stopSignal === '' || signal === SIGKILL || signal === loop.runtime.stopSignal);
}
