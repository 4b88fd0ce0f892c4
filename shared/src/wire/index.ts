// Messages and services between managers and agents, from shared/proto/tessera/v1/dispatcher.proto.
export * from '../gen/tessera/v1/dispatcher.js';
