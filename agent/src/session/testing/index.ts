export * from './fake-manager.js';
