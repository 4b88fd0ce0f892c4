export { type Explanation, explain, type NodeExplanation } from './explain.js';
export { schedulerLoop } from './scheduler.js';
