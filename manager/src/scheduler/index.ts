export { schedulerLoop } from './scheduler.js';
