export * from './busybox.js';
export * from './make-archive.js';
export * from './make-layer.js';
