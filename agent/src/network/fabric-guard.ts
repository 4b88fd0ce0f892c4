import type { FabricPort } from './fabric-plan.js';

// Each port sends under its container's own address alone. Its MAC is pinned by the bridge itself (locked ports), so
// that pairs of MAC and address are enough, and compared faster than with the port's name.

export const GUARD_TABLE = 'bridge tessera';

const element = ({ mac, address }: Pair): string => `${mac} . ${address}`;

/** The nft commands that make the whole guard, in place of one that may be there. */
export function buildGuard(ports: readonly Pair[]): string {
  return [
    `add table ${GUARD_TABLE}`,
    `delete table ${GUARD_TABLE}`,
    `add table ${GUARD_TABLE}`,
    `add set ${GUARD_TABLE} ports { type ether_addr . ipv4_addr; }`,
    `add chain ${GUARD_TABLE} pin { type filter hook prerouting priority -300; }`,
    `add rule ${GUARD_TABLE} pin iifname "vx-*" accept`,
    `add rule ${GUARD_TABLE} pin ether saddr . ip saddr @ports accept`,
    `add rule ${GUARD_TABLE} pin ether saddr . arp saddr ip @ports accept`,
    `add rule ${GUARD_TABLE} pin drop`,
    ...ports.map(admit),
  ].join('\n');
}

type Pair = Pick<FabricPort, 'mac' | 'address'>;

export const admit = (port: Pair): string => `add element ${GUARD_TABLE} ports { ${element(port)} }`;

export const dismiss = (port: Pair): string => `delete element ${GUARD_TABLE} ports { ${element(port)} }`;

interface JsonSet {
  readonly elem?: readonly { readonly concat: readonly [string, string] }[];
}

/**
 * The nft commands that mend the guard; empty when it is right.
 *
 * @param listing `list table bridge tessera` as JSON, undefined when there is no such table
 */
export function planGuard(
  ports: readonly Pair[],
  listing: readonly Record<string, unknown>[] | undefined,
): string {
  const set = listing?.find((object) => 'set' in object)?.set as JsonSet | undefined;
  const rules = listing?.filter((object) => 'rule' in object).length ?? 0;
  if (!set || rules !== 4) return buildGuard(ports);
  const present = new Map(
    (set.elem ?? []).map(({ concat: [mac, address] }) => [element({ mac, address }), { mac, address }]),
  );
  const wanted = new Map(ports.map((port) => [element(port), port]));
  return [
    ...[...present].filter(([pair]) => !wanted.has(pair)).map(([, port]) => dismiss(port)),
    ...[...wanted].filter(([pair]) => !present.has(pair)).map(([, port]) => admit(port)),
  ].join('\n');
}
