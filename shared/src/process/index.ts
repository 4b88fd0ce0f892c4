export * from './pid-file.js';
