/** Every host's bridge, by which containers reach the outside. */
export const NAT_BRIDGE = 'tessera0';

/** Among the addresses of extra hosts: the one by which a container reaches its own host. */
export const HOST_GATEWAY = 'host-gateway';
