import { create } from './create.js';
import { inspect } from './inspect.js';
import { ls } from './ls.js';
import { prune } from './prune.js';
import { rm } from './rm.js';

export const verbs = [create, ls, inspect, prune, rm];
