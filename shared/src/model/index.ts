// The model is the schema: the types made from shared/proto, under the names the code uses.
// Why there is no second set of types beside them: docs/adr/0001-one-schema.md.
export * from '../gen/tessera/v1/objects.js';
export * from './task-state.js';
