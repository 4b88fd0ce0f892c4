export * from './reference-filter.js';
