export * from './addresses.js';
export * from './archive.js';
export * from './attachment.js';
export {
  type AnswerBody,
  type ConnectionPlace,
  type HelperInput,
  type RequestBody,
  takeConnection,
} from './connection.js';
export { clear, discardContainer, killGroup, makeContainer } from './container-calls.js';
export * from './daemon.js';
export * from './errno-sentence.js';
export * from './frames.js';
export * from './library.js';
export * from './netlink.js';
export * from './netlink-dump.js';
export * from './nftables.js';
export * from './seccomp.js';
export * from './shim.js';
export type { ExecExit, ShimExit, ShimFailure } from './shim-events.js';
export * from './spec.js';
export * from './unpack.js';
export * from './volume.js';
