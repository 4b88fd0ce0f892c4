import { create } from './create.js';
import { inspect } from './inspect.js';
import { logs } from './logs.js';
import { ls } from './ls.js';
import { ps } from './ps.js';
import { rm } from './rm.js';
import { rollback } from './rollback.js';
import { scale } from './scale.js';
import { update } from './update.js';

export const verbs = [create, ls, ps, inspect, scale, update, rollback, logs, rm];
