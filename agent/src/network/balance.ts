import type { VirtualAddresses } from './kernel-types.js';

// Balancing of virtual addresses inside a container's own namespace, by nftables: no packet's source is
// translated. A virtual address has an element in `vips`, which leads to the chain that draws a number below
// the count of its backends, and one element per backend in `backends`, under (address, number). A change
// touches elements; the table is made once, and again only on repair.
//
// Connections that are not balanced are not tracked: tracking costs a tenth of an overlay's throughput. Tracked is
// what is sent to a virtual address, what comes from an address that may be answering for one, and the loopback.

/** Virtual address → its backends by number. */
export type Balance = ReadonlyMap<string, readonly string[]>;

/** The elements of a table. */
export interface Contents {
  readonly balance: Balance;
  /** Addresses that may answer for a virtual one: backends, and endpoints that are no longer backends. */
  readonly peers: ReadonlySet<string>;
}

export const NOTHING: Contents = { balance: new Map(), peers: new Set() };

/** Ports the resolver listens on at 127.0.0.11. */
export interface ResolverPorts {
  readonly udp: number;
  readonly tcp: number;
}

export const TABLE = 'ip tessera';
/** Before connection tracking (-200). */
const TRACK_PRIORITY = -300;
/** Before destination translation (-100), after connection tracking (-200). */
const CHOOSE_PRIORITY = -110;
const NO_BACKEND = 'none';

/**
 * Numbers for the wanted backends that leave as many as possible where they are, without a gap.
 *
 * @param before backends by number so far
 */
export function assignNumbers(before: readonly string[], wanted: Iterable<string>): string[] {
  const pending = new Set(wanted);
  const numbered: (string | undefined)[] = before.slice(0, pending.size);
  for (const [number, backend] of numbered.entries()) {
    if (backend === undefined || !pending.delete(backend)) numbered[number] = undefined;
  }
  const rest = [...pending];
  for (let number = 0; rest.length > 0; number++) {
    if (numbered[number] === undefined) numbered[number] = rest.shift();
  }
  return numbered as string[];
}

/** The contents that have these backends, numbered so that little changes. */
export function contentsFor(virtuals: VirtualAddresses, before: Balance): Contents {
  return {
    balance: new Map(
      virtuals.map(({ vip, backends }) => [vip, assignNumbers(before.get(vip) ?? [], backends)]),
    ),
    peers: new Set(virtuals.flatMap(({ backends, others }) => [...backends, ...others])),
  };
}

const pickChain = (count: number): string => (count === 0 ? NO_BACKEND : `pick${count}`);

const addPick = (count: number): string[] =>
  count === 0
    ? []
    : [
        `add chain ${TABLE} ${pickChain(count)}`,
        `flush chain ${TABLE} ${pickChain(count)}`,
        `add rule ${TABLE} ${pickChain(count)} meta mark set numgen random mod ${count}`,
      ];

const backendKey = (vip: string, number: number): string => `${vip} . ${number}`;

const SETS = ['virtuals', 'peers'] as const;

/** The members of the two sets, made from contents. */
const membersOf = ({ balance, peers }: Contents): Record<(typeof SETS)[number], ReadonlySet<string>> => ({
  virtuals: new Set(balance.keys()),
  peers,
});

/** The nft commands that turn one table's elements into another's; empty when they are equal. */
export function planContents(before: Contents, after: Contents, picks: ReadonlySet<number>): string {
  const [had, has] = [membersOf(before), membersOf(after)];
  const commands = SETS.flatMap((set) => [
    ...change(
      'delete',
      set,
      [...had[set]].filter((member) => !has[set].has(member)),
    ),
    ...change(
      'add',
      set,
      [...has[set]].filter((member) => !had[set].has(member)),
    ),
  ]);
  const balance = planBalance(before.balance, after.balance, picks);
  return [...commands, ...(balance === '' ? [] : [balance])].join('\n');
}

const change = (verb: 'add' | 'delete', set: string, members: readonly string[]): string[] =>
  members.length === 0 ? [] : [`${verb} element ${TABLE} ${set} { ${members.join(', ')} }`];

/**
 * The nft commands that turn one balance into another; empty when they are equal.
 *
 * @param picks counts that the table has a chain for
 */
export function planBalance(before: Balance, after: Balance, picks: ReadonlySet<number>): string {
  const chains = new Set<number>();
  const drop: string[] = [];
  const add: string[] = [];
  for (const vip of new Set([...before.keys(), ...after.keys()])) {
    const old = before.get(vip);
    const now = after.get(vip);
    for (let number = 0; number < Math.max(old?.length ?? 0, now?.length ?? 0); number++) {
      if (old?.[number] === now?.[number]) continue;
      if (old?.[number]) drop.push(`delete element ${TABLE} backends { ${backendKey(vip, number)} }`);
      if (now?.[number])
        add.push(`add element ${TABLE} backends { ${backendKey(vip, number)} : ${now[number]} }`);
    }
    if (old?.length === now?.length) continue;
    if (old) drop.push(`delete element ${TABLE} vips { ${vip} }`);
    if (now) {
      if (!picks.has(now.length)) chains.add(now.length);
      add.push(`add element ${TABLE} vips { ${vip} : goto ${pickChain(now.length)} }`);
    }
  }
  return [...[...chains].flatMap(addPick), ...drop, ...add].join('\n');
}

/** Before buildTable: takes away a table that may be there, in the same transaction. */
export const DROP_TABLE = `add table ${TABLE}\ndelete table ${TABLE}`;

/** The nft commands that make the whole table in a namespace without one. */
export function buildTable(resolver: ResolverPorts | undefined, contents: Contents): string {
  const counts = new Set([...contents.balance.values()].map((backends) => backends.length));
  const elements = [
    ...(resolver ? [setResolver(resolver)] : []),
    ...planContents(NOTHING, contents, counts).split('\n'),
  ];
  return [
    `add table ${TABLE}`,
    `add map ${TABLE} resolver { type inet_proto : inet_service; }`,
    `add map ${TABLE} vips { type ipv4_addr : verdict; }`,
    `add map ${TABLE} backends { type ipv4_addr . mark : ipv4_addr; }`,
    ...SETS.map((set) => `add set ${TABLE} ${set} { type ipv4_addr; }`),
    `add chain ${TABLE} ${NO_BACKEND}`,
    // As a real host that has nothing listening: connections are refused at once.
    `add rule ${TABLE} ${NO_BACKEND} reject with icmp type port-unreachable`,
    ...[...counts].flatMap(addPick),
    // While no agent runs nothing listens there, and queries shall wait for the next one instead of failing. After
    // connection tracking: a connection that it knows to be refused may be tried again.
    `add chain ${TABLE} local`,
    `add rule ${TABLE} local ip saddr 127.0.0.11 icmp type destination-unreachable drop`,
    `add rule ${TABLE} local ip saddr 127.0.0.11 tcp flags & rst == rst drop`,
    `add chain ${TABLE} track-out { type filter hook output priority ${TRACK_PRIORITY}; }`,
    `add rule ${TABLE} track-out oifname "lo" accept`,
    `add rule ${TABLE} track-out ip daddr @virtuals accept`,
    `add rule ${TABLE} track-out notrack`,
    `add chain ${TABLE} track-in { type filter hook prerouting priority ${TRACK_PRIORITY}; }`,
    `add rule ${TABLE} track-in iifname "lo" accept`,
    `add rule ${TABLE} track-in ip saddr @peers accept`,
    `add rule ${TABLE} track-in notrack`,
    `add chain ${TABLE} choose { type filter hook output priority ${CHOOSE_PRIORITY}; }`,
    `add rule ${TABLE} choose ct state new ip daddr vmap @vips`,
    `add rule ${TABLE} choose oifname "lo" goto local`,
    `add chain ${TABLE} translate { type nat hook output priority -100; }`,
    `add rule ${TABLE} translate ip daddr 127.0.0.11 meta l4proto { tcp, udp } th dport 53 dnat to 127.0.0.11 : meta l4proto map @resolver`,
    `add rule ${TABLE} translate dnat to ip daddr . meta mark map @backends`,
    ...elements.filter((line) => line !== ''),
  ].join('\n');
}

const RULE_COUNTS: Readonly<Record<string, number>> = {
  [NO_BACKEND]: 1,
  local: 2,
  'track-out': 3,
  'track-in': 3,
  choose: 2,
  translate: 2,
};

/** Points the redirect at the resolver's ports. */
export const setResolver = ({ udp, tcp }: ResolverPorts): string =>
  [`flush map ${TABLE} resolver`, `add element ${TABLE} resolver { udp : ${udp}, tcp : ${tcp} }`].join('\n');

/** What a container's table holds, read back. */
export interface TableState {
  readonly contents: Contents;
  readonly picks: ReadonlySet<number>;
  readonly resolver: ResolverPorts | undefined;
}

interface JsonMap {
  readonly name: string;
  readonly elem?: readonly [unknown, unknown][];
}

interface JsonSet {
  readonly name: string;
  readonly elem?: readonly string[];
}

/**
 * Reads `list table ip tessera` as JSON. Undefined when anything but elements differs from what buildTable makes:
 * then only a rebuild helps. Source: libnftables-json(5).
 */
export function parseTable(listing: readonly Record<string, unknown>[]): TableState | undefined {
  const maps = new Map<string, JsonMap>();
  const sets = new Map<string, ReadonlySet<string>>();
  const rules = new Map<string, number>();
  for (const object of listing) {
    if ('map' in object) maps.set((object.map as JsonMap).name, object.map as JsonMap);
    if ('set' in object) {
      const { name, elem = [] } = object.set as JsonSet;
      sets.set(name, new Set(elem));
    }
    if ('chain' in object) {
      const { name } = object.chain as { name: string };
      rules.set(name, rules.get(name) ?? 0);
    }
    if ('rule' in object) {
      const { chain } = object.rule as { chain: string };
      rules.set(chain, (rules.get(chain) ?? 0) + 1);
    }
  }
  const vips = maps.get('vips');
  const backends = maps.get('backends');
  const resolver = maps.get('resolver');
  if (!vips || !backends || !resolver) return undefined;
  for (const [chain, count] of Object.entries(RULE_COUNTS)) if (rules.get(chain) !== count) return undefined;

  const picks = new Set<number>();
  for (const [chain, count] of rules) {
    const pick = /^pick(\d+)$/.exec(chain);
    if (pick && count !== 1) return undefined;
    if (pick) picks.add(Number(pick[1]));
  }
  const balance = parseBalance(vips, backends);
  const [virtuals, peers] = SETS.map((set) => sets.get(set));
  if (!balance || !virtuals || !peers) return undefined;
  const isWhole = virtuals.size === balance.size && [...virtuals].every((vip) => balance.has(vip));
  return isWhole ? { contents: { balance, peers }, picks, resolver: parseResolver(resolver) } : undefined;
}

function parseBalance(vips: JsonMap, backends: JsonMap): Balance | undefined {
  const balance = new Map<string, string[]>();
  const counts = new Map<string, number>();
  for (const [vip, verdict] of vips.elem ?? []) {
    const { target } = (verdict as { goto?: { target: string } }).goto ?? { target: '' };
    counts.set(String(vip), target === NO_BACKEND ? 0 : Number(/^pick(\d+)$/.exec(target)?.[1]));
    balance.set(String(vip), []);
  }
  for (const [key, backend] of backends.elem ?? []) {
    const [vip, number] = (key as { concat: [string, number] }).concat;
    const numbered = balance.get(vip);
    if (!numbered) return undefined;
    numbered[Number(number)] = String(backend);
  }
  for (const [vip, numbered] of balance)
    if (numbered.length !== counts.get(vip) || numbered.includes(undefined as never)) return undefined;
  return balance;
}

function parseResolver({ elem = [] }: JsonMap): ResolverPorts | undefined {
  const ports = new Map(elem.map(([protocol, port]) => [String(protocol), Number(port)]));
  // On a host without /etc/protocols their numbers are listed.
  const udp = ports.get('udp') ?? ports.get('17');
  const tcp = ports.get('tcp') ?? ports.get('6');
  return udp !== undefined && tcp !== undefined ? { udp, tcp } : undefined;
}
