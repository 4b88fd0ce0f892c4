export { orchestratorLoop } from './orchestrator.js';
