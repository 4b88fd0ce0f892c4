export * from './heap.js';
