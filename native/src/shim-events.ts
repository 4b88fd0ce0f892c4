import { STAGES, type Stage } from './frames.js';

/** Why a command does not run. */
export interface ShimFailure {
  readonly stage: Stage;
  /** 0 where no system call failed. */
  readonly errno: number;
  /** A path, a name, or what was being done. */
  readonly detail: string;
}

/** How a container's command ended. */
export interface ShimExit {
  readonly exitCode: number;
  readonly oomKilled: boolean;
  readonly atMs: number;
}

/** How an exec's command ended. */
export interface ExecExit {
  readonly exitCode: number;
  readonly atMs: number;
}

const STAGE_NAMES = new Map(
  Object.entries(STAGES).map(([name, number]) => [number as number, name as Stage]),
);

/** i64 seconds, u32 nanoseconds. */
export const timeMs = (payload: Buffer, at: number): number =>
  Number(payload.readBigInt64LE(at)) * 1000 + payload.readUInt32LE(at + 8) / 1e6;

/** u32 stage, i32 errno, text. */
export const decodeFailure = (payload: Buffer, at = 0): ShimFailure => ({
  stage: STAGE_NAMES.get(payload.readUInt32LE(at)) ?? 'SHIM',
  errno: payload.readInt32LE(at + 4),
  detail: payload.toString('utf8', at + 8),
});

export const decodeExit = (payload: Buffer): ShimExit => ({
  exitCode: payload.readUInt32LE(0),
  oomKilled: payload.readUInt32LE(4) !== 0,
  atMs: timeMs(payload, 8),
});

/** Behind the process's number. */
export const decodeExecExit = (payload: Buffer): ExecExit => ({
  exitCode: payload.readUInt32LE(4),
  atMs: timeMs(payload, 8),
});
