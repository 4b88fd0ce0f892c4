export * from './side-streams.js';
