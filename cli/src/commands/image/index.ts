import { history } from './history.js';
import { importImage } from './import.js';
import { inspect } from './inspect.js';
import { load } from './load.js';
import { ls } from './ls.js';
import { prune } from './prune.js';
import { pull } from './pull.js';
import { push } from './push.js';
import { rm } from './rm.js';
import { save } from './save.js';
import { tag } from './tag.js';

export const verbs = [pull, push, load, importImage, save, ls, inspect, history, tag, rm, prune];
