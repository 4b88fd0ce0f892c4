import { inspect } from './inspect.js';
import { ls } from './ls.js';
import { ps } from './ps.js';
import { rm } from './rm.js';
import { update } from './update.js';

export const verbs = [ls, inspect, update, ps, rm];
