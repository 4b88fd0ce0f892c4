export { type Explanation, explain, type NodeExplanation } from './explain.js';
export { NodeSet } from './node-set.js';
export { type Scheduler, schedulerLoop } from './scheduler.js';
