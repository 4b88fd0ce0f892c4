export { type Explanation, explain, type NodeExplanation } from './explain.js';
export { type Scheduler, schedulerLoop } from './scheduler.js';
