export * from './builders.js';
export * from './fake-clock.js';
export * from './fuzz.js';
export * from './seeded-random.js';
