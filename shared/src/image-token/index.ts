export * from './image-token.js';
