import { createHash } from 'node:crypto';

// Names are derived from ids, so that what an earlier life left behind is recognised. The kernel takes 15 bytes.

/** The bridge and the VXLAN device of a network, inside the fabric, where nothing else lives. */
export const bridgeName = (networkId: string): string => `br-${shortId(networkId)}`;
export const vxlanName = (networkId: string): string => `vx-${shortId(networkId)}`;

/** The fabric's end of a container's link to a network. */
export const portName = (containerId: string, networkId: string): string =>
  `tv-${shortHash(`${containerId}/${networkId}`)}`;

/** The host's end of a container's link to the NAT bridge. */
export const natPortName = (containerId: string): string => `tn-${shortHash(containerId)}`;

/** What people see of an id elsewhere, too. Twelve of its characters are as good as all 25: 62 bits. */
const shortId = (id: string): string => id.slice(0, 12).replaceAll(/[^0-9A-Za-z-]/g, '-');

/** Twelve characters of [0-9a-z]: 62 bits. */
function shortHash(text: string): string {
  const bits = createHash('sha256').update(text).digest().readBigUInt64BE(0);
  return bits.toString(36).padStart(13, '0').slice(-12);
}
