import type { Verb } from '../../cli.js';
import { attach } from './attach.js';
import { cp } from './cp.js';
import { exec } from './exec.js';
import { commit, diff, exportFiles } from './files.js';
import { logs } from './logs.js';
import { ps } from './ps.js';
import { create, run } from './run.js';
import {
  inspect,
  kill,
  pause,
  prune,
  rename,
  restart,
  rm,
  start,
  stop,
  top,
  unpause,
  wait,
} from './verbs.js';

/** Those that mean a container without saying so. */
export const topVerbs: readonly Verb[] = [
  run,
  ps,
  exec,
  logs,
  attach,
  start,
  stop,
  restart,
  kill,
  pause,
  unpause,
  wait,
  rename,
  top,
  cp,
  diff,
  exportFiles,
  commit,
  rm,
];

export const verbs: readonly Verb[] = [...topVerbs, create, inspect, prune];
