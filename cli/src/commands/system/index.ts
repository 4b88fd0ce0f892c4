import { info } from './info.js';
import { version } from './version.js';

export const verbs = [info, version];
