import { constants } from 'node:os';
import { invalid } from '@tessera/shared/errors';

/** How long a stop waits between its signal and SIGKILL where nothing else is said, as Docker. */
export const DEFAULT_STOP_GRACE_MS = 10_000;

/** A signal's number from `15`, `TERM` or `SIGTERM`; real-time ones as `RTMIN+3`. Empty: SIGTERM. */
export function parseSignal(text: string): number {
  if (text === '') return constants.signals.SIGTERM;
  if (/^\d+$/.test(text)) {
    const number = Number(text);
    if (number >= 1 && number <= 64) return number;
  }
  const name = text.toUpperCase().replace(/^SIG/, '');
  const realTime = /^RT(MIN|MAX)([+-]\d+)?$/.exec(name);
  if (realTime) {
    // musl and glibc keep the first two for themselves.
    const number = (realTime[1] === 'MIN' ? 34 : 64) + Number(realTime[2] ?? 0);
    if (number >= 34 && number <= 64) return number;
  }
  const number = (constants.signals as Record<string, number>)[`SIG${name}`];
  if (number === undefined)
    throw invalid(`stop-signal: unknown signal "${text}": write it as SIGTERM, TERM or 15`);
  return number;
}
