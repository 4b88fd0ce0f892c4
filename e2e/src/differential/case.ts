/** API versions that cases are played with; dockerd 20.10 speaks up to 1.41, 26.1 up to 1.45. */
export type ApiVersion = '1.24' | '1.41' | '1.44' | '1.45' | '1.50';
export const API_VERSION: ApiVersion = '1.41';

/** What may differ from Docker's answer, and why that is meant. */
export interface Difference {
  /** `STEP LEAF`, for instance `GET /containers/$c/json body.Node.Name`; `*` stands for any text. */
  readonly at: string;
  readonly why: string;
}

/** One thing that is asked of an engine, and whose answer is compared. */
export type Step = CommandStep | HttpStep | SocketStep;

interface StepOptions {
  /** Compared of JSON: these paths alone. What lies below one is compared with it. */
  readonly only?: readonly string[];
  /** JSON's keys and types are compared, not its values: they measure the machine. */
  readonly shape?: boolean;
}

/** A shell command line, with the docker client set up for the engine. */
export interface CommandStep extends StepOptions {
  readonly kind: 'command';
  readonly line: string;
  readonly input?: string;
  /** Lines are compared in this order: the engine promises none. */
  readonly sorted?: boolean;
}

export interface HttpOptions extends StepOptions {
  /** Sent as JSON, or as it is when it is text or bytes. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Asks for a raw connection in place of HTTP. */
  readonly upgrade?: boolean;
  /** Written to the raw connection, which is then half-closed. */
  readonly input?: string;
  /** Done between the head of the answer and its body. */
  readonly during?: readonly Step[];
  /** So many lines of the answer are read, and no more. */
  readonly lines?: number;
  /** Keeps a member of the answer as a variable for later steps. */
  readonly keep?: Readonly<Record<string, string>>;
  /** The path is sent as it is, without a version before it. */
  readonly bare?: boolean;
  /** Asked again until a member of the answer has this value. */
  readonly until?: readonly [path: string, value: unknown];
}

export interface HttpStep extends HttpOptions {
  readonly kind: 'http';
  readonly method: string;
  /** Without a version the case's own is put before it. */
  readonly path: string;
}

/** A WebSocket. */
export interface SocketStep extends StepOptions {
  readonly kind: 'socket';
  readonly path: string;
  readonly input?: string;
  readonly during?: readonly Step[];
}

/** One row of the table. `$c` and `$d` are names of containers of its own, which are removed behind it. */
export interface Case {
  readonly name: string;
  /** What Docker does here, in one sentence. */
  readonly proves: string;
  readonly steps: readonly Step[];
  /** Left out: 1.41. */
  readonly versions?: readonly ApiVersion[];
  readonly differs?: readonly Difference[];
  /** The feature that is still missing; until then the answers are only reported. */
  readonly awaits?: string;
  /** Looks at or changes more than its own containers: nothing else runs beside it. */
  readonly alone?: boolean;
}

export const docker = (words: string, options: Omit<CommandStep, 'kind' | 'line'> = {}): CommandStep => ({
  kind: 'command',
  line: `docker ${words}`,
  ...options,
});

export const shell = (line: string, options: Omit<CommandStep, 'kind' | 'line'> = {}): CommandStep => ({
  kind: 'command',
  line,
  ...options,
});

/** @param request for instance `POST /containers/$c/start` */
export function http(request: string, options: HttpOptions = {}): HttpStep {
  const at = request.indexOf(' ');
  return { kind: 'http', method: request.slice(0, at), path: request.slice(at + 1), ...options };
}

export const socket = (path: string, options: Omit<SocketStep, 'kind' | 'path'> = {}): SocketStep => ({
  kind: 'socket',
  path,
  ...options,
});

/** `{"label":["a=b"]}` as a query takes it. */
export const filters = (map: Readonly<Record<string, readonly string[]>>): string =>
  `filters=${JSON.stringify(map)}`;

/** A container that is created and not started. */
export const created = (body: object = {}, name = '$c'): HttpStep =>
  http(`POST /containers/create?name=${name}`, {
    body: { Image: 'busybox', Cmd: ['sleep', '1000'], ...body },
  });

/** The same, running. */
export const running = (body: object = {}, name = '$c'): readonly HttpStep[] => [
  created(body, name),
  http(`POST /containers/${name}/start`),
];

export const inspected = (...only: string[]): HttpStep => http('GET /containers/$c/json', { only });

/** What is done in a case, in the order in which it is begun. */
export const stepsOf = (steps: readonly Step[]): Step[] =>
  steps.flatMap((step) => [step, ...stepsOf((step.kind !== 'command' && step.during) || [])]);

/** How a step is called in answers, differences and the recording. */
export const titleOf = (step: Step): string =>
  step.kind === 'command'
    ? step.line
    : step.kind === 'socket'
      ? `WS ${step.path}`
      : `${step.method} ${step.path}`;
