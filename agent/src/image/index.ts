export * from './image-store.js';
export { type ImageStoreOptions, LocalImageStore } from './local-image-store.js';
export { type PeerFetcherOptions, PeerImageFetcher } from './peer-fetcher.js';
export { type PeerServerOptions, peerServer } from './peer-server.js';
