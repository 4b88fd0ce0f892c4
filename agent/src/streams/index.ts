export * from './container-streams.js';
export * from './side-streams.js';
