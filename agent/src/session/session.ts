import type { ClientDuplexStream } from '@grpc/grpc-js';
import type { Clock, Logger } from '@tessera/shared/env';
import { ClusterError, errorText, fromServiceError } from '@tessera/shared/errors';
import {
  type AgentMessage,
  type Assignments,
  DispatcherClient,
  type Goodbye,
  type ManagerMessage,
  type NodeReport,
  type Register,
  type StreamRequest,
  type Welcome,
} from '@tessera/shared/wire';
import { managerChannelOptions, type NodeCredentials, nodeChannelCredentials } from './manager-channel.js';
import type { StatusOutbox } from './status-outbox.js';

/**
 * A connection that does not come about is given up early: packets sent into a cut link are repeated ever more
 * seldom, and a new attempt finds out sooner that the link has healed.
 */
const CONNECT_TIMEOUT_MS = 5_000;
/** A manager that takes the connection but does not answer is given up for another. */
const WELCOME_TIMEOUT_MS = 15_000;
/** A manager that hangs must not hold up our own end. */
const GOODBYE_TIMEOUT_MS = 2_000;
/** A batch that is not acknowledged by then is sent again: the manager may have failed to store it. */
const STATUS_RESEND_MS = 5_000;

/** What a session tells the rest of the agent. */
export interface SessionHandlers {
  /** Throws when this manager must not be obeyed. */
  onWelcome(welcome: Welcome): void;
  onAssignments(assignments: Assignments): void;
  onStreamRequest(request: StreamRequest): void;
  onManagers(addrs: readonly string[]): void;
}

/** Why a session ended. */
export type SessionEnd =
  | { readonly kind: 'lost'; readonly error: ClusterError; readonly welcomed: boolean }
  | { readonly kind: 'dismissed'; readonly removed: boolean; readonly reason: string };

export interface SessionOptions {
  readonly managerAddr: string;
  readonly credentials: NodeCredentials;
  readonly register: () => Register;
  readonly outbox: StatusOutbox;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly handlers: SessionHandlers;
}

type Body = NonNullable<AgentMessage['body']>;

/** This agent's standing with one manager, from the connection's beginning to its end. */
export class Session {
  readonly ended: Promise<SessionEnd>;
  readonly #client: DispatcherClient;
  readonly #stream: ClientDuplexStream<AgentMessage, ManagerMessage>;
  readonly #timers = new Map<string, () => void>();
  #end: (end: SessionEnd) => void = () => undefined;
  #welcome: Welcome | undefined;
  #over = false;

  constructor(private readonly options: SessionOptions) {
    this.ended = new Promise((resolve) => {
      this.#end = (end) => {
        if (this.#over) return;
        this.#over = true;
        this.#close();
        resolve(end);
      };
    });
    const { managerAddr, credentials } = options;
    this.#client = new DispatcherClient(
      managerAddr,
      nodeChannelCredentials(credentials),
      managerChannelOptions,
    );
    this.#client.waitForReady(options.clock.now() + CONNECT_TIMEOUT_MS, (error) => {
      if (error) this.#fail(unavailable(`manager ${managerAddr} cannot be reached: ${error.message}`));
    });
    this.#stream = this.#client.session();
    this.#stream.on('data', (message: ManagerMessage) => this.#receive(message));
    this.#stream.on('error', (error) => this.#fail(fromServiceError(error)));
    this.#stream.on('end', () => this.#fail(unavailable(`manager ${managerAddr} ended the session`)));
    this.#after('welcome', WELCOME_TIMEOUT_MS, () =>
      this.#fail(unavailable(`manager ${managerAddr} did not answer`)),
    );
    this.#send({ $case: 'register', value: options.register() });
  }

  get managerAddr(): string {
    return this.options.managerAddr;
  }

  /** Undefined until the manager has welcomed this node. */
  get id(): string | undefined {
    return this.#welcome?.sessionId;
  }

  /** Everything up to `sequence` is in place on this node. */
  acknowledge(sequence: number): void {
    this.#send({ $case: 'ack', value: { sequence } });
  }

  report(report: NodeReport): void {
    if (this.#welcome) this.#send({ $case: 'report', value: report });
  }

  /** Says that this agent stops for a while, and ends the session once that has been sent. */
  async sayGoodbye(goodbye: Goodbye): Promise<void> {
    if (this.#over) return;
    await new Promise<void>((resolve) => {
      this.#stream.once('close', resolve);
      this.#stream.once('end', resolve);
      void this.ended.then(() => resolve());
      this.#after('goodbye', GOODBYE_TIMEOUT_MS, resolve);
      this.#send({ $case: 'goodbye', value: goodbye });
      this.#stream.end();
    });
  }

  /** Ends the session at once. */
  close(reason: string): void {
    this.#fail(new ClusterError('cancelled', reason));
  }

  #receive({ body }: ManagerMessage): void {
    if (this.#over || !body) return;
    try {
      this.#handle(body);
    } catch (error) {
      this.#fail(
        error instanceof ClusterError
          ? error
          : new ClusterError('internal', errorText(error), { cause: error }),
      );
    }
  }

  #handle(body: NonNullable<ManagerMessage['body']>): void {
    const { handlers, outbox } = this.options;
    if (!this.#welcome && body.$case !== 'welcome' && body.$case !== 'dismiss')
      throw unavailable(`manager ${this.managerAddr} spoke before its welcome`);
    switch (body.$case) {
      case 'welcome':
        this.#begin(body.value);
        break;
      case 'dismiss':
        this.#end({ kind: 'dismissed', removed: body.value.removed, reason: body.value.reason });
        break;
      case 'assignments':
        handlers.onAssignments(body.value);
        break;
      case 'statusAck':
        this.#timers.get('resend')?.();
        outbox.acknowledge(body.value.number);
        break;
      case 'streamRequest':
        handlers.onStreamRequest(body.value);
        break;
      case 'managers':
        handlers.onManagers(body.value.addrs);
    }
  }

  #begin(welcome: Welcome): void {
    this.options.handlers.onWelcome(welcome);
    this.#timers.get('welcome')?.();
    this.#welcome = welcome;
    this.#beat(welcome.heartbeatPeriodMs, 0);
    this.#sendStatuses();
  }

  /** Heartbeats, each with how late its own timer was: the lag of the main loop. */
  #beat(periodMs: number, lagMs: number): void {
    this.#send({ $case: 'heartbeat', value: { mainLoopLagMs: lagMs } });
    const dueMs = this.options.clock.monotonic() + periodMs;
    this.#after('heartbeat', periodMs, () =>
      this.#beat(periodMs, Math.max(0, Math.round(this.options.clock.monotonic() - dueMs))),
    );
  }

  /** Called by the outbox's owner as well, whenever there may be something to send. */
  sendStatuses(): void {
    if (this.#welcome) this.#sendStatuses();
  }

  #sendStatuses(): void {
    const batch = this.options.outbox.next();
    if (!batch) return;
    this.#send({ $case: 'statuses', value: batch });
    this.#watchBatch();
  }

  #watchBatch(): void {
    this.#after('resend', STATUS_RESEND_MS, () => {
      const batch = this.options.outbox.again();
      if (!batch) return;
      this.#send({ $case: 'statuses', value: batch });
      this.#watchBatch();
    });
  }

  #send(body: Body): void {
    if (!this.#over) this.#stream.write({ body });
  }

  #fail(error: ClusterError): void {
    this.#end({ kind: 'lost', error, welcomed: this.#welcome !== undefined });
  }

  #after(name: string, delayMs: number, callback: () => void): void {
    if (this.#over) return;
    this.#timers.get(name)?.();
    this.#timers.set(name, this.options.clock.after(delayMs, callback));
  }

  #close(): void {
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
    this.#stream.cancel();
    this.#client.close();
  }
}

const unavailable = (message: string): ClusterError => new ClusterError('unavailable', message);
