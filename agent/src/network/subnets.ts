/** IPv4 subnets as numbers. */
export interface Subnet {
  readonly base: number;
  readonly prefix: number;
}

export function parseIpv4(text: string): number {
  const parts = text.split('.').map(Number);
  if (parts.length !== 4 || parts.some((part) => !Number.isInteger(part) || part < 0 || part > 255))
    throw new RangeError(`'${text}' is not an IPv4 address`);
  return parts.reduce((sum, part) => sum * 256 + part, 0);
}

export const formatIpv4 = (value: number): string =>
  [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');

const mask = (prefix: number): number => (prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0);

/** `10.0.1.5/24` as its subnet, `10.0.1.0/24`. */
export function parseSubnet(text: string): Subnet {
  const [address = '', bits = '32'] = text.split('/');
  const prefix = Number(bits);
  if (!Number.isInteger(prefix) || prefix < 0 || prefix > 32)
    throw new RangeError(`'${text}' has no prefix length between 0 and 32`);
  return { base: (parseIpv4(address) & mask(prefix)) >>> 0, prefix };
}

export const formatSubnet = ({ base, prefix }: Subnet): string => `${formatIpv4(base)}/${prefix}`;

export function overlaps(a: Subnet, b: Subnet): boolean {
  const shared = mask(Math.min(a.prefix, b.prefix));
  return ((a.base ^ b.base) & shared) === 0;
}

export const contains = (subnet: Subnet, address: string): boolean =>
  overlaps(subnet, { base: parseIpv4(address), prefix: 32 });

/** `10.0.1.5/24` as address and prefix length; without one, 32. */
export function splitAddress(text: string): { readonly address: string; readonly prefix: number } {
  const [address = '', prefix = '32'] = text.split('/');
  return { address: formatIpv4(parseIpv4(address)), prefix: Number(prefix) };
}

/** `02:42:` and the four bytes of the address: as unique as the address in its network. */
export const macOf = (address: string): string =>
  ['02:42', ...address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'))].join(':');
