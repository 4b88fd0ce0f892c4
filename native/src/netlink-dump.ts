import { addressText, macText } from './addresses.js';
import { call, declare, NativeCallError, type NativeFunction } from './library.js';
import type { Netns, PortSwitches } from './netlink.js';

/** A network device, as RTM_GETLINK tells it. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** "bridge", "veth", "vxlan"; undefined for hardware and loopback. */
  readonly kind: string | undefined;
  readonly up: boolean;
  readonly mtu: number;
  readonly mac: string;
  /** Index of the bridge it is a port of. */
  readonly master: number | undefined;
  /** Its switches where it is a port of a bridge. */
  readonly port: Required<PortSwitches> | undefined;
  readonly vxlan:
    | { readonly vni: number; readonly port: number; readonly local: string | undefined }
    | undefined;
}

export interface InterfaceAddress {
  readonly index: number;
  readonly address: string;
  readonly prefix: number;
}

/** A route of the main table. */
export interface Route {
  readonly destination: string;
  readonly prefix: number;
  readonly via: string | undefined;
  readonly index: number | undefined;
}

/** An entry of a neighbour table, or of a bridge's or VXLAN device's forwarding table. */
export interface Neighbour {
  readonly index: number;
  readonly mac: string | undefined;
  /** Neighbours: whose it is. VXLAN forwarding entries: the host it is sent to. */
  readonly address: string | undefined;
  /** Written by somebody, not learnt. The addresses of the devices themselves do not count. */
  readonly isStatic: boolean;
  /** Of a bridge's table, where `index` is the port. */
  readonly ofBridge: boolean;
}

const KINDS = { links: 1, addresses: 2, routes: 3, neighbours: 4, fdb: 5 };
const AF_INET = 2;
const MAIN_TABLE = 254;
const UNICAST = 1;
const NUD_PERMANENT = 0x80;
const NUD_NOARP = 0x40;
const NDA_MASTER = 9;

let dumpFunction: NativeFunction | undefined;
let buffer = Buffer.alloc(256 << 10);

function dump(netns: Netns, kind: keyof typeof KINDS): Buffer {
  dumpFunction ??= declare(
    'int rt_net_dump(int netns, int kind, void *buffer, int capacity, _Out_ rt_error *err)',
  );
  for (;;) {
    try {
      const length = call(dumpFunction, netns, KINDS[kind], buffer, buffer.length);
      return buffer.subarray(0, length);
    } catch (error) {
      if (!(error instanceof NativeCallError) || error.code !== 'ENOBUFS') throw error;
      buffer = Buffer.alloc(buffer.length * 2);
    }
  }
}

export const dumpLinks = (netns: Netns): Link[] => parseLinks(dump(netns, 'links'));
export const dumpAddresses = (netns: Netns): InterfaceAddress[] => parseAddresses(dump(netns, 'addresses'));
/** IPv4 routes of the main table. */
export const dumpRoutes = (netns: Netns): Route[] => parseRoutes(dump(netns, 'routes'));
/** IPv4 neighbours. */
export const dumpNeighbours = (netns: Netns): Neighbour[] =>
  parseNeighbours(dump(netns, 'neighbours')).filter(({ address }) => address?.includes('.'));
/** Forwarding entries of every bridge and VXLAN device. */
export const dumpForwarding = (netns: Netns): Neighbour[] => parseNeighbours(dump(netns, 'fdb'));

/** Walks `[length, type, payload]` records that both netlink messages' attributes and their nests are made of. */
function attributes(data: Buffer, offset: number): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = offset; at + 4 <= data.length; ) {
    const length = data.readUInt16LE(at);
    if (length < 4 || at + length > data.length) break;
    found.set(data.readUInt16LE(at + 2) & 0x3fff, data.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return found;
}

/** Bodies of the messages: what follows the 16 bytes of each header. */
function* messages(data: Buffer): Generator<Buffer> {
  for (let at = 0; at + 16 <= data.length; ) {
    const length = data.readUInt32LE(at);
    if (length < 16 || at + length > data.length) return;
    yield data.subarray(at + 16, at + length);
    at += (length + 3) & ~3;
  }
}

const text = (bytes: Buffer | undefined): string => bytes?.toString('latin1').replace(/\0.*$/s, '') ?? '';

/** Source: linux/if_link.h; struct ifinfomsg is 16 bytes. */
export function parseLinks(data: Buffer): Link[] {
  return Array.from(messages(data), (body) => {
    const found = attributes(body, 16);
    const info = found.has(18) ? attributes(found.get(18) as Buffer, 0) : undefined;
    const kind = info?.has(1) ? text(info.get(1)) : undefined;
    const specific = kind === 'vxlan' && info?.has(2) ? attributes(info.get(2) as Buffer, 0) : undefined;
    const local = specific?.get(4) ?? specific?.get(17);
    return {
      index: body.readInt32LE(4),
      name: text(found.get(3)),
      kind,
      up: (body.readUInt32LE(8) & 1) !== 0,
      mtu: found.get(4)?.readUInt32LE(0) ?? 0,
      mac: found.has(1) ? macText(found.get(1) as Buffer) : '',
      master: found.get(10)?.readUInt32LE(0),
      port: portSwitches(info),
      vxlan: specific && {
        vni: specific.get(1)?.readUInt32LE(0) ?? 0,
        port: specific.get(15)?.readUInt16BE(0) ?? 0,
        local: local && addressText(local),
      },
    };
  });
}

function portSwitches(info: Map<number, Buffer> | undefined): Required<PortSwitches> | undefined {
  if (!info || text(info.get(4)) !== 'bridge') return undefined;
  const port = attributes(info.get(5) ?? Buffer.alloc(0), 0);
  const isOn = (type: number) => port.get(type)?.readUInt8(0) === 1;
  return { learning: isOn(8), flood: isOn(9), isolated: isOn(33), locked: isOn(39) };
}

/** Source: linux/if_addr.h; struct ifaddrmsg is 8 bytes. */
export function parseAddresses(data: Buffer): InterfaceAddress[] {
  return Array.from(messages(data)).flatMap((body) => {
    const found = attributes(body, 8);
    const address = found.get(2) ?? found.get(1);
    if (!address) return [];
    return [{ index: body.readUInt32LE(4), address: addressText(address), prefix: body.readUInt8(1) }];
  });
}

/** Source: linux/rtnetlink.h; struct rtmsg is 12 bytes. */
export function parseRoutes(data: Buffer): Route[] {
  return Array.from(messages(data)).flatMap((body) => {
    const found = attributes(body, 12);
    const isMain = body.readUInt8(4) === MAIN_TABLE && body.readUInt8(7) === UNICAST;
    if (body.readUInt8(0) !== AF_INET || !isMain) return [];
    const via = found.get(5);
    const destination = found.get(1);
    return [
      {
        destination: destination ? addressText(destination) : '0.0.0.0',
        prefix: body.readUInt8(1),
        via: via && addressText(via),
        index: found.get(4)?.readUInt32LE(0),
      },
    ];
  });
}

/** Source: linux/neighbour.h; struct ndmsg is 12 bytes. */
export function parseNeighbours(data: Buffer): Neighbour[] {
  return Array.from(messages(data), (body) => {
    const found = attributes(body, 12);
    const address = found.get(1);
    const mac = found.get(2);
    const state = body.readUInt16LE(8);
    const ofBridge = found.has(NDA_MASTER);
    return {
      index: body.readInt32LE(4),
      mac: mac && macText(mac),
      address: address && addressText(address),
      isStatic: ofBridge ? state === NUD_NOARP : (state & NUD_PERMANENT) !== 0,
      ofBridge,
    };
  });
}
