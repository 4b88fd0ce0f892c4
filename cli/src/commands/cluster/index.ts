import { certificate } from './certificate.js';
import { init } from './init.js';
import { inspect } from './inspect.js';
import { join } from './join.js';
import { leave } from './leave.js';
import { token } from './token.js';
import { update } from './update.js';

export const verbs = [init, join, leave, token, inspect, update, certificate];
