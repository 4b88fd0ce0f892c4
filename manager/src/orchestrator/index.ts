export { containerMoverLoop } from './containers/mover.js';
export { containerReaperLoop, reapContainer } from './containers/reaper.js';
export { orphansLoop } from './enforcer/orphans.js';
export { imagePlacementLoop } from './images/placements.js';
export { orchestratorLoop } from './orchestrator.js';
export { reaperLoop } from './reaper/reaper.js';
export { volumeReaperLoop } from './volumes/reaper.js';
