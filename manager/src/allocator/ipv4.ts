import { invalid } from '@tessera/shared/errors';
import ipaddr from 'ipaddr.js';

/** A block of IPv4 addresses: the first one as a number, and the length of its prefix. */
export interface Block {
  readonly base: number;
  readonly prefix: number;
}

export const sizeOf = ({ prefix }: Block): number => 2 ** (32 - prefix);
export const lastOf = (block: Block): number => block.base + sizeOf(block) - 1;

export const contains = (block: Block, address: number): boolean =>
  address >= block.base && address <= lastOf(block);

export const overlap = (a: Block, b: Block): boolean => a.base <= lastOf(b) && b.base <= lastOf(a);

export const formatAddress = (address: number): string =>
  [address >>> 24, (address >>> 16) & 255, (address >>> 8) & 255, address & 255].join('.');

export const formatBlock = ({ base, prefix }: Block): string => `${formatAddress(base)}/${prefix}`;

/** @throws ClusterError `invalidArgument` naming `field` when it is not a dotted IPv4 address */
export function parseAddress(text: string, field: string): number {
  if (!ipaddr.IPv4.isValidFourPartDecimal(text)) throw invalid(`${field} "${text}" is not an IPv4 address`);
  return ipaddr.IPv4.parse(text).octets.reduce((number, octet) => number * 256 + octet, 0);
}

/**
 * @param field what the user called it, for the error text
 * @throws ClusterError `invalidArgument` when it is no CIDR, or has bits set beyond its prefix
 */
export function parseBlock(text: string, field: string): Block {
  const [address, length] = text.split('/');
  const prefix = Number(length);
  if (!address || !length || !/^\d{1,2}$/.test(length) || prefix > 32) {
    throw invalid(`${field} "${text}" is not an IPv4 subnet such as 10.0.9.0/24`);
  }
  const base = parseAddress(address, field);
  if (base % 2 ** (32 - prefix) !== 0) {
    const network = formatBlock({ base: base - (base % 2 ** (32 - prefix)), prefix });
    throw invalid(`${field} "${text}" has host bits set: did you mean ${network}?`);
  }
  return { base, prefix };
}
