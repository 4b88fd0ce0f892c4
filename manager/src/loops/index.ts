export { type RunningLoops, startLoops } from './start.js';
