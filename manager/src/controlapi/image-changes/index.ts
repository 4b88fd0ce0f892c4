export * from './image-changes.js';
