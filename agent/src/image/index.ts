export * from './image-store.js';
export { blobsOf, type ImageStoreOptions, LocalImageStore } from './local-image-store.js';
