export { ipClaim, macOf, ownerExists } from './address-book.js';
export { type Allocator, allocatorLoop } from './allocator.js';
export { isClusterNetwork, subnetClaim, vniClaim } from './network-allocator.js';
