// Mirrors native/include/shim.h; frames.test.ts compares the two. docs/shim-protocol.md explains it.

export const FRAME_HEADER = 8;
/** Of what the agent sends. */
export const FRAME_PAYLOAD_MAX = 4096;
/** The newest this agent speaks; a shim that began under an earlier agent may speak an older one. */
export const SHIM_PROTOCOL = 3;

export const FRAMES = {
  STATUS: 1,
  GO: 2,
  SIGNAL: 3,
  SUBSCRIBE: 4,
  LOG_POSITION: 5,
  ATTACH: 6,
  STDIN: 7,
  STDIN_CLOSE: 8,
  RESIZE: 9,
  EXEC: 10,
  LEND: 11,
  OK: 64,
  ERROR: 65,
  CREATED: 66,
  STARTED: 67,
  FAILED: 68,
  EXITED: 69,
  STATE: 70,
  POSITION: 71,
  OUTPUT: 72,
  EXEC_STARTED: 73,
  EXEC_FAILED: 74,
  EXEC_EXITED: 75,
  DETACHED: 76,
  RESUME: 77,
  LENT: 78,
} as const;

/** Where a start failed. */
export const STAGES = {
  SPEC: 1,
  SHIM: 2,
  GROUP: 3,
  CLONE: 4,
  DIED: 5,
  ROOT: 6,
  MOUNT: 7,
  MASK: 8,
  PIVOT: 9,
  HOSTNAME: 10,
  SYSCTL: 11,
  LIMIT: 12,
  USER: 13,
  GROUPS: 14,
  CREDENTIALS: 15,
  SECCOMP: 16,
  CWD: 17,
  NOT_FOUND: 18,
  STAT: 19,
  EXEC: 20,
  CANCELLED: 21,
  JOIN: 22,
  TERMINAL: 23,
  APPARMOR: 24,
  LOAN: 25,
  SHARED: 26,
  LABEL: 27,
  RELABEL: 28,
} as const;
export type Stage = keyof typeof STAGES;

export const ATTACH = { STDOUT: 1, STDERR: 2, WAIT: 4, LINE: 8 } as const;
/** Where in an attachment's flags its patience begins, and what it is counted in. */
export const PATIENCE_SHIFT = 16;
export const PATIENCE_UNIT_MS = 100;
/** In place of a process's number: the exec that this connection has brought. */
export const EXEC_OWN = 0xffffffff;
/** STDIN frames that may be unanswered at once. */
export const STDIN_WINDOW = 16;
export const EXECS_MAX = 64;

export const SHIM_STATES = { CREATED: 1, RUNNING: 2, EXITED: 3 } as const;

export interface Frame {
  readonly type: number;
  /** Of the request it answers; 0 for an event. */
  readonly id: number;
  readonly payload: Buffer;
}

export function encodeFrame(type: number, id: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  if (payload.length > FRAME_PAYLOAD_MAX) throw new RangeError(`a frame of ${payload.length} bytes`);
  const bytes = Buffer.allocUnsafe(FRAME_HEADER + payload.length);
  bytes.writeUInt32LE(payload.length, 0);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt16LE(id, 6);
  bytes.set(payload, FRAME_HEADER);
  return bytes;
}

/** Cuts a stream of bytes into frames. */
export class FrameDecoder {
  #rest: Buffer = Buffer.alloc(0);

  /** The frames that `chunk` completes. @throws RangeError when one claims more than `max` bytes */
  push(chunk: Buffer, max = 65_536): Frame[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const frames: Frame[] = [];
    let at = 0;
    while (bytes.length - at >= FRAME_HEADER) {
      const size = bytes.readUInt32LE(at);
      if (size > max) throw new RangeError(`a frame of ${size} bytes`);
      const end = at + FRAME_HEADER + size;
      if (bytes.length < end) break;
      const payload = bytes.subarray(at + FRAME_HEADER, end);
      frames.push({ type: bytes.readUInt16LE(at + 4), id: bytes.readUInt16LE(at + 6), payload });
      at = end;
    }
    this.#rest = bytes.subarray(at);
    return frames;
  }
}
