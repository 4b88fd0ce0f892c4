export * from './side-stream.js';
