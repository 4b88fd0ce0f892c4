import type { FabricPort } from './fabric-plan.js';

// Each port sends under its container's own address alone; its MAC is pinned by the bridge itself (locked ports).

export const GUARD_TABLE = 'bridge tessera';

const element = ({ name, mac, address }: FabricPort): string => `"${name}" . ${mac} . ${address}`;

/** The nft commands that make the whole guard, in place of one that may be there. */
export function buildGuard(ports: readonly FabricPort[]): string {
  return [
    `add table ${GUARD_TABLE}`,
    `delete table ${GUARD_TABLE}`,
    `add table ${GUARD_TABLE}`,
    `add set ${GUARD_TABLE} ports { type ifname . ether_addr . ipv4_addr; }`,
    `add chain ${GUARD_TABLE} pin { type filter hook prerouting priority -300; }`,
    `add rule ${GUARD_TABLE} pin iifname "vx-*" accept`,
    `add rule ${GUARD_TABLE} pin iifname . ether saddr . ip saddr @ports accept`,
    `add rule ${GUARD_TABLE} pin iifname . ether saddr . arp saddr ip @ports accept`,
    `add rule ${GUARD_TABLE} pin drop`,
    ...ports.map(admit),
  ].join('\n');
}

export const admit = (port: FabricPort): string => `add element ${GUARD_TABLE} ports { ${element(port)} }`;

export const dismiss = (port: FabricPort): string =>
  `delete element ${GUARD_TABLE} ports { ${element(port)} }`;

const key = ({ name, mac, address }: FabricPort): string => `${name} ${mac} ${address}`;

interface JsonSet {
  readonly elem?: readonly { readonly concat: readonly [string, string, string] }[];
}

/**
 * The nft commands that mend the guard; empty when it is right.
 *
 * @param listing `list table bridge tessera` as JSON, undefined when there is no such table
 */
export function planGuard(
  ports: readonly FabricPort[],
  listing: readonly Record<string, unknown>[] | undefined,
): string {
  const set = listing?.find((object) => 'set' in object)?.set as JsonSet | undefined;
  const rules = listing?.filter((object) => 'rule' in object).length ?? 0;
  if (!set || rules !== 4) return buildGuard(ports);
  const present = new Map(
    (set.elem ?? []).map(({ concat: [name, mac, address] }) => {
      const port = { name, mac, address };
      return [key(port), port];
    }),
  );
  const wanted = new Set(ports.map(key));
  return [
    ...[...present].filter(([id]) => !wanted.has(id)).map(([, port]) => dismiss(port)),
    ...ports.filter((port) => !present.has(key(port))).map(admit),
  ].join('\n');
}
