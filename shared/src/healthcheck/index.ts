export * from './healthcheck.js';
