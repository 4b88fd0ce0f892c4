import { inspect } from './inspect.js';
import { load } from './load.js';
import { ls } from './ls.js';
import { rm } from './rm.js';
import { tag } from './tag.js';

export const verbs = [load, ls, inspect, tag, rm];
