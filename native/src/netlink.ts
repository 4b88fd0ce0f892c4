import { isIPv6 } from 'node:net';
import { addressBytes, macBytes } from './addresses.js';
import { call, declare, NativeCallError, type NativeFunction } from './library.js';

/** A descriptor of a network namespace; `OWN_NETNS` is the process's own. */
export type Netns = number;
export const OWN_NETNS: Netns = -1;

/** What a bridge port does beyond forwarding. All are off unless named. */
export interface PortSwitches {
  readonly learning?: boolean;
  /** Frames to addresses nobody knows are sent out here. */
  readonly flood?: boolean;
  /** Isolated ports do not reach each other. */
  readonly isolated?: boolean;
  /** Only frames from addresses that the forwarding table has at this port come in. */
  readonly locked?: boolean;
}

interface Tolerance {
  /** It is as good when it is there already (add), or gone already (delete). */
  readonly tolerant?: boolean;
}

/** One change to the kernel's network state. Addresses are text; `prefix` is a number of bits. */
export type NetChange =
  | { readonly kind: 'bridge'; readonly name: string; readonly mtu?: number; readonly mac?: string }
  | {
      readonly kind: 'veth';
      readonly name: string;
      readonly master?: string;
      readonly mtu?: number;
      readonly peer: { readonly name: string; readonly netns: Netns; readonly mac?: string };
    }
  | {
      readonly kind: 'vxlan';
      readonly name: string;
      readonly vni: number;
      readonly local: string;
      readonly port: number;
      readonly mtu: number;
      /** Where the device is put; its outer packets use the namespace of the change. */
      readonly into: Netns;
      readonly udpChecksum?: boolean;
    }
  | {
      readonly kind: 'link';
      readonly name: string;
      readonly up?: boolean;
      readonly mtu?: number;
      readonly mac?: string;
      /** Empty: leave the bridge. */
      readonly master?: string;
      readonly rename?: string;
      readonly into?: Netns;
    }
  | ({ readonly kind: 'link-delete'; readonly name: string } & Tolerance)
  | ({ readonly kind: 'port'; readonly name: string } & PortSwitches)
  | ({
      readonly kind: 'address' | 'address-delete';
      readonly name: string;
      readonly address: string;
      readonly prefix: number;
    } & Tolerance)
  | ({
      readonly kind: 'route' | 'route-delete';
      readonly destination: string;
      readonly prefix: number;
      readonly via?: string;
      readonly name?: string;
    } & Tolerance)
  /** In the table of the bridge that `name` is a port of, or with `to` in the VXLAN device's own. */
  | ({
      readonly kind: 'fdb' | 'fdb-delete';
      readonly name: string;
      readonly mac: string;
      readonly to?: string;
    } & Tolerance)
  | ({
      readonly kind: 'neighbour' | 'neighbour-delete';
      readonly name: string;
      readonly address: string;
      readonly mac?: string;
    } & Tolerance)
  /** `path` is below /proc/sys/net/. */
  | ({ readonly kind: 'sysctl'; readonly path: string; readonly value: string } & Tolerance);

export type PlacedChange = NetChange & { readonly netns: Netns };

/** Places changes in a namespace. */
export const inNetns = (netns: Netns, changes: readonly NetChange[]): PlacedChange[] =>
  changes.map((change) => ({ ...change, netns }));

// Mirrors rt_net_op and its constants in native/include/rt.h.
export const OP_SIZE = 248;
const FLAG = { mayExist: 1, mayMiss: 2, up: 4, down: 8, master: 16, via: 32, udpChecksum: 64, noMaster: 128 };
const PORT = { learning: 1, flood: 2, isolated: 4, locked: 8 };
const KIND: Record<NetChange['kind'], number> = {
  bridge: 1,
  veth: 2,
  vxlan: 3,
  link: 4,
  'link-delete': 5,
  port: 6,
  address: 7,
  'address-delete': 8,
  route: 9,
  'route-delete': 10,
  fdb: 11,
  'fdb-delete': 12,
  neighbour: 13,
  'neighbour-delete': 14,
  sysctl: 15,
};

let functions:
  | {
      batch: NativeFunction;
      forget: NativeFunction;
      open: NativeFunction;
      create: NativeFunction;
      remove: NativeFunction;
      socket: NativeFunction;
    }
  | undefined;

const native = () => {
  functions ??= {
    batch: declare('int rt_net_batch(const void *ops, int count, _Out_ int *done, _Out_ rt_error *err)'),
    forget: declare(
      'int rt_conntrack_forget(int netns, int family, const void *addresses, int count, _Out_ rt_error *err)',
    ),
    open: declare('int rt_netns_open(const char *path, _Out_ rt_error *err)'),
    create: declare('int rt_netns_create(const char *path, _Out_ rt_error *err)'),
    remove: declare('int rt_netns_remove(const char *path, _Out_ rt_error *err)'),
    socket: declare(
      'int rt_netns_socket(int netns, const char *address, int port, int flags, _Out_ int *bound, _Out_ rt_error *err)',
    ),
  };
  return functions;
};

/** A batch that stopped at one of its changes. */
export class NetChangeError extends NativeCallError {
  constructor(
    cause: NativeCallError,
    readonly change: PlacedChange | undefined,
    /** How many were made before it. */
    readonly done: number,
  ) {
    super(cause.errno, cause.code, cause.message.replace(/: E[A-Z]+$/, ''));
  }
}

/**
 * Makes all changes in one native call, each in its namespace, in order. Blocks: a link's deletion takes tens of
 * milliseconds.
 *
 * @throws NetChangeError at the first that fails; those before it stay made
 */
export function changeNetwork(changes: readonly PlacedChange[]): void {
  if (changes.length === 0) return;
  const ops = Buffer.alloc(changes.length * OP_SIZE);
  changes.forEach((change, index) => {
    encode(ops.subarray(index * OP_SIZE, (index + 1) * OP_SIZE), change);
  });
  const done: [number] = [0];
  try {
    call(native().batch, ops, changes.length, done);
  } catch (error) {
    if (!(error instanceof NativeCallError)) throw error;
    throw new NetChangeError(error, changes[done[0]], done[0]);
  }
}

/** Deletes every connection tracking entry that involves one of the IPv4 addresses. Returns how many. */
export function forgetConnections(netns: Netns, addresses: readonly string[]): number {
  if (addresses.length === 0) return 0;
  const packed = Buffer.concat(addresses.map((address) => addressBytes(address)));
  return call(native().forget, netns, AF_INET, packed, addresses.length);
}

/** @throws NativeCallError ENOENT when nothing, or no namespace, is there */
export const openNetns = (path: string): Netns => call(native().open, path);

/** The namespace bound to `path`, made when there is none. */
export const createNetns = (path: string): Netns => call(native().create, path);

/** Unbinds a namespace made by `createNetns`. May be repeated. */
export const removeNetns = (path: string): void => void call(native().remove, path);

export interface NetnsSocket {
  readonly fd: number;
  readonly port: number;
}

/** A non-blocking socket of the namespace, bound to an IPv4 address, or connecting to it. The caller closes it. */
export function openSocket(
  netns: Netns,
  type: 'udp' | 'tcp',
  how:
    | { readonly bind: string; readonly port?: number }
    | { readonly connect: string; readonly port: number },
): NetnsSocket {
  const bound: [number] = [0];
  const flags = (type === 'tcp' ? 1 : 0) | ('connect' in how ? 2 : 0);
  const address = 'connect' in how ? how.connect : how.bind;
  const fd = call(native().socket, netns, address, how.port ?? 0, flags, bound);
  return { fd, port: bound[0] };
}

const AF_INET = 2;
const AF_INET6 = 10;

/** Writes one rt_net_op into `op`, which is zeroed. */
function encode(op: Buffer, change: PlacedChange): void {
  let flags = 0;
  let peerNetns = -1;
  const text = (offset: number, size: number, value: string) => {
    if (Buffer.byteLength(value) >= size) throw new RangeError(`'${value}' is longer than ${size - 1} bytes`);
    op.write(value, offset);
  };
  const address = (offset: number, value: string) => {
    addressBytes(value).copy(op, offset);
    op.writeUInt8(isIPv6(value) ? AF_INET6 : AF_INET, 104);
  };
  const mac = (value: string | undefined) => value && macBytes(value).copy(op, 64);

  switch (change.kind) {
    case 'bridge':
      mac(change.mac);
      break;
    case 'veth':
      text(32, 16, change.peer.name);
      text(48, 16, change.master ?? '');
      mac(change.peer.mac);
      peerNetns = change.peer.netns;
      break;
    case 'vxlan':
      // A link is up as soon as it has a bridge to deliver to, not before.
      flags = FLAG.down | (change.udpChecksum ? FLAG.udpChecksum : 0);
      op.writeUInt32LE(change.vni, 112);
      op.writeUInt16LE(change.port, 106);
      address(72, change.local);
      peerNetns = change.into;
      break;
    case 'link':
      if (change.up !== undefined) flags |= change.up ? FLAG.up : FLAG.down;
      if (change.master === '') flags |= FLAG.noMaster;
      text(48, 16, change.master ?? '');
      text(32, 16, change.rename ?? '');
      mac(change.mac);
      peerNetns = change.into ?? -1;
      break;
    case 'port':
      op.writeUInt32LE(
        (change.learning ? PORT.learning : 0) |
          (change.flood ? PORT.flood : 0) |
          (change.isolated ? PORT.isolated : 0) |
          (change.locked ? PORT.locked : 0),
        112,
      );
      break;
    case 'address':
    case 'address-delete':
      address(72, change.address);
      op.writeUInt8(change.prefix, 105);
      break;
    case 'route':
    case 'route-delete':
      address(72, change.destination);
      op.writeUInt8(change.prefix, 105);
      if (change.via !== undefined) {
        flags |= FLAG.via;
        addressBytes(change.via).copy(op, 88);
      }
      break;
    case 'fdb':
    case 'fdb-delete':
      mac(change.mac);
      if (change.to === undefined) flags |= FLAG.master;
      else address(72, change.to);
      break;
    case 'neighbour':
    case 'neighbour-delete':
      address(72, change.address);
      mac(change.mac);
      break;
    case 'sysctl':
      text(116, 96, change.path);
      text(212, 36, change.value);
      break;
    case 'link-delete':
      break;
  }
  if ('tolerant' in change && change.tolerant) flags |= FLAG.mayExist | FLAG.mayMiss;
  if ('mtu' in change && change.mtu) op.writeUInt32LE(change.mtu, 12);
  if ('name' in change && change.name) text(16, 16, change.name);
  op.writeUInt16LE(KIND[change.kind], 0);
  op.writeUInt16LE(flags, 2);
  op.writeInt32LE(change.netns, 4);
  op.writeInt32LE(peerNetns, 8);
}
