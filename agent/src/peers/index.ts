export * from './image-locator.js';
export * from './peer-listener.js';
