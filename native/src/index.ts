export * from './addresses.js';
export * from './library.js';
export * from './netlink.js';
export * from './netlink-dump.js';
export * from './nftables.js';
export * from './unpack.js';
