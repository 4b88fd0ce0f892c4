import { constants } from 'node:os';
import { invalid } from '@tessera/shared/errors';

const SIGNAL_MAX = 64;
const SIGRTMIN = 34;

/** `SIGTERM`, `TERM`, `15`, `RTMIN+3`. @throws ClusterError `invalidArgument` in Docker's words */
export function signalNumber(text: string): number {
  const number = parseSignal(text);
  if (number > SIGNAL_MAX) throw invalid(`the linux daemon does not support signal ${number}`);
  return number;
}

function parseSignal(text: string): number {
  const name = text.toUpperCase().replace(/^SIG/, '');
  const realTime = /^RTMIN(?:\+(\d{1,2}))?$|^RTMAX(?:-(\d{1,2}))?$/.exec(name);
  const number = /^\d+$/.test(text)
    ? Number(text)
    : realTime
      ? name.startsWith('RTMIN')
        ? SIGRTMIN + Number(realTime[1] ?? 0)
        : SIGNAL_MAX - Number(realTime[2] ?? 0)
      : (constants.signals[`SIG${name}` as NodeJS.Signals] ?? 0);
  if (number < 1) throw invalid(`Invalid signal: ${text}`);
  return number;
}
