import type { ClusterError } from '@tessera/shared/errors';
import { NodeStatus, type NodeStatus_State } from '@tessera/shared/model';
import type { ManagerMessage, NodeReport, Register } from '@tessera/shared/wire';
import type { AssignmentFeed } from './assignment-feed.js';
import type { SessionTransport } from './transport.js';

/**
 * Where a session stands. `opening` until its key is in the store; `lost` without a connection, in its
 * grace time; `restarting` after a Goodbye, or while an agent that died is waited for; `expired` once its time was over, until the store says so too.
 */
export type SessionPhase = 'opening' | 'live' | 'lost' | 'restarting' | 'expired';

export interface SessionOptions {
  readonly nodeId: string;
  readonly sessionId: string;
  readonly register: Register;
  readonly transport: SessionTransport;
  readonly heartbeatPeriodMs: number;
  readonly graceMs: number;
  /** Counted time. */
  readonly nowMs: number;
}

/** One agent's standing with this manager, in memory. */
export class Session {
  readonly nodeId: string;
  readonly sessionId: string;
  readonly heartbeatPeriodMs: number;
  phase: SessionPhase = 'opening';
  /** Its key has been in the store: if it is gone from there, someone else took it away. */
  established = false;
  transport: SessionTransport | undefined;
  feed: AssignmentFeed | undefined;
  /** The node's event loop was this late at its last heartbeat. Shown, never punished. */
  mainLoopLagMs = 0;
  /** The managers it has been told of, as one text. */
  managersSent = '';
  /** Everything up to here is applied on the node. */
  ackedSequence = 0;
  #heardAtMs: number;
  #silenceMaxMs: number;
  #facts: Pick<NodeStatus, 'description' | 'imageDigests' | 'addr' | 'managerAddr'>;
  #farewell = '';

  constructor(private readonly options: SessionOptions) {
    this.nodeId = options.nodeId;
    this.sessionId = options.sessionId;
    this.heartbeatPeriodMs = options.heartbeatPeriodMs;
    this.transport = options.transport;
    this.#heardAtMs = options.nowMs;
    this.#silenceMaxMs = options.graceMs;
    const { description, imageDigests, addr, managerAddr } = options.register;
    this.#facts = { description, imageDigests, addr, managerAddr };
  }

  get bootId(): string {
    return this.#facts.description?.bootId ?? '';
  }

  /** @param nowMs counted time */
  heard(nowMs: number): void {
    this.#heardAtMs = nowMs;
  }

  /** Whether it has been silent for as long as it may. @param nowMs counted time */
  isOverdue(nowMs: number): boolean {
    // An agent beats once it is welcomed; until then it is the store that keeps it waiting.
    const isExpected = this.phase !== 'expired' && !(this.phase === 'opening' && this.transport);
    return isExpected && nowMs - this.#heardAtMs >= this.#silenceMaxMs;
  }

  report(report: NodeReport): void {
    this.#facts = {
      ...this.#facts,
      description: report.description ?? this.#facts.description,
      imageDigests: report.imageDigests,
    };
  }

  /** Its agent will be back within `backWithinMs`, and its tasks run on meanwhile. */
  sayGoodbye(backWithinMs: number, reason: string): void {
    this.phase = 'restarting';
    this.#farewell = reason;
    this.#silenceMaxMs = Math.max(this.options.graceMs, backWithinMs);
  }

  /** Its time is over: by silence, or because its agent will not be back. */
  expire(reason: string): void {
    this.phase = 'expired';
    this.#farewell = reason;
  }

  /** Its connection was closed from the other end: its host lives, so its agent is waited for. */
  awaitAgent(withinMs: number): void {
    this.#silenceMaxMs = Math.max(this.#silenceMaxMs, withinMs);
  }

  /** Its agent has been gone for longer than a moment: nothing new is to be placed here. @param nowMs counted time */
  isMissed(nowMs: number): boolean {
    return this.phase === 'lost' && nowMs - this.#heardAtMs >= this.options.graceMs;
  }

  missed(): void {
    this.phase = 'restarting';
    this.#farewell = 'its agent has gone without a word; its tasks run on';
  }

  /** False when the way down is full or gone. */
  send(body: NonNullable<ManagerMessage['body']>): boolean {
    return this.transport?.send({ body }) ?? false;
  }

  /** Ends the connection and what hangs on it; the session's key is another matter. */
  disconnect(error?: ClusterError): void {
    this.feed?.stop();
    this.feed = undefined;
    const { transport } = this;
    this.transport = undefined;
    transport?.close(error);
  }

  /** What the store should say of the node. */
  nodeStatus(before: NodeStatus | undefined, nowMs: number): NodeStatus {
    const { state, message } = this.#standing();
    const stateSinceMs = before?.state === state ? before.stateSinceMs : nowMs;
    // Fields this version does not know stay as they are.
    return {
      ...(before ?? NodeStatus.create({ nodeId: this.nodeId })),
      ...this.#facts,
      state,
      message,
      stateSinceMs,
    };
  }

  #standing(): { state: NodeStatus_State; message: string } {
    switch (this.phase) {
      case 'restarting':
        return { state: 'restarting', message: this.#farewell };
      case 'expired':
        return { state: 'disconnected', message: this.#farewell };
      default:
        return { state: 'ready', message: '' };
    }
  }
}
