export type { CommitRequest, WriteLayer } from './image-commit.js';
export * from './image-store.js';
export { type ImageStoreOptions, LocalImageStore, type SavedName } from './local-image-store.js';
export { type PeerFetcherOptions, PeerImageFetcher } from './peer-fetcher.js';
export { type PeerServerOptions, peerServer } from './peer-server.js';
export { HostRegistries, parseRegistryAuth, Registries, type RegistryImages } from './registry/index.js';
