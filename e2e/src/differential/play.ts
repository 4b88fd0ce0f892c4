import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delay, systemClock } from '@tessera/shared/env';
import { run } from '../lab/command.js';
import { type ApiVersion, type Case, type HttpStep, type SocketStep, type Step, titleOf } from './case.js';
import { exchange, messages } from './exchange.js';
import { normalised } from './normalise.js';
import { type Leaves, leavesOfAnswer, leavesOfCommand, memberOf } from './transcript.js';

/** An engine that cases are played on. */
export interface Engine {
  readonly name: string;
  readonly socket: string;
  /** Where images are pushed to and pulled from: address, port, and a path of this engine's own. */
  readonly registry: string;
  readonly versionMax: ApiVersion;
}

/** What an engine answered to each step of a case, in order, normalised. */
export type Transcript = readonly { readonly step: string; readonly leaves: Leaves }[];

const STEP_TIMEOUT_MS = 30_000;
const UNTIL_INTERVAL_MS = 50;

/** Plays one case at one API version, and removes its containers. */
export async function play(engine: Engine, row: Case, version: ApiVersion): Promise<Transcript> {
  const directory = mkdtempSync(`${tmpdir()}/differential-`);
  const player = new Player(engine, version, directory, `${slug(row.name)}-${version.replace('.', '')}`);
  try {
    for (const step of row.steps) await player.step(step);
    return player.transcript;
  } finally {
    await player.clean();
    rmSync(directory, { recursive: true, force: true });
  }
}

const slug = (name: string): string => name.replace(/[^a-zA-Z0-9]+/g, '-').replace(/^-|-$/g, '');

class Player {
  readonly transcript: { step: string; leaves: Leaves }[] = [];
  readonly #variables: Record<string, string>;

  constructor(
    private readonly engine: Engine,
    private readonly version: ApiVersion,
    private readonly directory: string,
    name: string,
  ) {
    this.#variables = { c: name, d: `${name}-2`, registry: engine.registry };
  }

  async step(step: Step): Promise<void> {
    // First come, first listed: what is done meanwhile stands behind the step that it is done during.
    const entry: { step: string; leaves: Leaves } = { step: titleOf(step), leaves: {} };
    this.transcript.push(entry);
    entry.leaves = normalised(await this.#leavesOf(step));
  }

  async clean(): Promise<void> {
    for (const name of [this.#variables.c!, this.#variables.d!])
      await this.#exchange('DELETE', `/v1.41/containers/${name}?force=true&v=true`, {});
  }

  async #leavesOf(step: Step): Promise<Leaves> {
    if (step.kind === 'command') {
      const env = {
        PATH: process.env.PATH,
        HOME: this.directory,
        DOCKER_CONFIG: this.directory,
        DOCKER_HOST: `unix://${this.engine.socket}`,
        DOCKER_API_VERSION: this.version,
        DOCKER_CLI_HINTS: 'false',
        ...this.#variables,
      };
      const line = `cd ${this.directory} && ${step.line}`;
      const result = await run(['sh', '-c', line], {
        env,
        input: step.input ?? '',
        timeoutMs: STEP_TIMEOUT_MS,
      });
      return leavesOfCommand(result, step);
    }
    if (step.kind === 'socket') return this.#socket(step);
    return this.#http(step);
  }

  async #socket(step: SocketStep): Promise<Leaves> {
    const answer = await messages({
      socketPath: this.engine.socket,
      path: this.#path(step.path),
      input: step.input ?? '',
      during: () => this.#all(step.during),
      timeoutMs: STEP_TIMEOUT_MS,
    });
    return leavesOfAnswer(answer, step);
  }

  async #http(step: HttpStep): Promise<Leaves> {
    const deadlineMs = systemClock.monotonic() + STEP_TIMEOUT_MS;
    for (;;) {
      const answer = await this.#exchange(step.method, this.#path(step.path, step.bare), step);
      const json = (): unknown => JSON.parse(answer.body.toString());
      if (step.until) {
        const [path, value] = step.until;
        if (memberOf(json(), path) !== value && systemClock.monotonic() < deadlineMs) {
          await delay(systemClock, UNTIL_INTERVAL_MS);
          continue;
        }
      }
      for (const [variable, path] of Object.entries(step.keep ?? {}))
        if (answer.status < 300) this.#variables[variable] = String(memberOf(json(), path));
      return leavesOfAnswer(answer, step);
    }
  }

  #exchange(method: string, path: string, step: Partial<HttpStep>) {
    const { body, upgrade } = step;
    const isJson = body !== undefined && typeof body !== 'string' && !Buffer.isBuffer(body);
    const text = isJson ? this.#fill(JSON.stringify(body)) : body;
    return exchange({
      socketPath: this.engine.socket,
      method,
      path,
      headers: {
        ...(body === undefined
          ? {}
          : { 'content-type': Buffer.isBuffer(body) ? 'application/x-tar' : 'application/json' }),
        ...(upgrade ? { connection: 'Upgrade', upgrade: 'tcp' } : {}),
        ...step.headers,
      },
      payload: text === undefined ? undefined : Buffer.from(text as string | Buffer),
      input: step.input ?? '',
      during: () => this.#all(step.during),
      lines: step.lines,
      timeoutMs: STEP_TIMEOUT_MS,
    });
  }

  async #all(steps: readonly Step[] = []): Promise<void> {
    for (const step of steps) await this.step(step);
  }

  #path(path: string, isBare = false): string {
    const filled = this.#fill(path).replace(/[ {}"<>\\^`|]/g, encodeURIComponent);
    return isBare ? filled : `/v${this.version}${filled}`;
  }

  /** Variables by their value. */
  #fill = (text: string): string =>
    text.replace(/\$([a-z]+)/g, (whole, name: string) => this.#variables[name] ?? whole);
}
