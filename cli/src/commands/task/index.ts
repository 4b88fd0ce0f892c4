import { inspect } from './inspect.js';
import { ls } from './ls.js';

export const verbs = [ls, inspect];
