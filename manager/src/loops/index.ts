export type { LeaderDecisions } from './decisions.js';
export { type RunningLoops, startLoops } from './start.js';
