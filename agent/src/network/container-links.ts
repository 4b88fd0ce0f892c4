import type { NetChange, Netns, PlacedChange } from '@tessera/native';
import { CONTAINER_PORT } from './fabric-plan.js';

/** One network interface of a container. */
export interface ContainerLink {
  readonly kind: 'overlay' | 'nat';
  /** Inside the container: eth0, eth1 … */
  readonly name: string;
  /** The other end, in the fabric or on the host. */
  readonly port: string;
  readonly bridge: string;
  readonly mtu: number;
  readonly mac: string;
  readonly address: string;
  readonly prefix: number;
  /** By which everything else leaves. */
  readonly gateway?: string;
  /** Empty for the NAT bridge. */
  readonly networkId: string;
  /** On the NAT bridge: others there that say so too may be reached, and may reach it. */
  readonly isOpen?: boolean;
}

export interface LinkPlaces {
  readonly container: Netns;
  readonly fabric: Netns;
  readonly host: Netns;
}

/** Tasks on the NAT bridge reach the host and the world, not one another; isolated ports pass nothing to isolated ones. */
const natPort = ({ port, isOpen = false }: ContainerLink): NetChange & { kind: 'port' } => ({
  kind: 'port',
  name: port,
  learning: true,
  flood: true,
  isolated: !isOpen,
});

/** What a container's namespace needs once, before its first link. */
export const CONTAINER_SYSCTLS: readonly NetChange[] = [
  // Overlays and the NAT bridge are IPv4; a link-local address would only invite neighbours. ::1 stays.
  { kind: 'sysctl', path: 'ipv6/conf/default/disable_ipv6', value: '1', tolerant: true },
];

/** The changes that give a container its links, for one native call. Grouped by namespace: each entry costs. */
export function planLinks(links: readonly ContainerLink[], places: LinkPlaces): PlacedChange[] {
  const inContainer = (changes: readonly NetChange[]) =>
    changes.map((change): PlacedChange => ({ ...change, netns: places.container }));
  return [
    ...inContainer(CONTAINER_SYSCTLS),
    ...links.flatMap((link) => planOuterEnd(link, places)),
    ...inContainer([{ kind: 'link', name: 'lo', up: true }, ...links.flatMap(planInnerEnd)]),
  ];
}

function planOuterEnd(link: ContainerLink, { container, fabric, host }: LinkPlaces): PlacedChange[] {
  const netns = link.kind === 'overlay' ? fabric : host;
  const veth: PlacedChange = {
    kind: 'veth',
    name: link.port,
    master: link.bridge,
    mtu: link.mtu,
    peer: { name: link.name, netns: container, mac: link.mac },
    netns,
  };
  if (link.kind === 'nat') return [veth, { ...natPort(link), netns }];
  return [
    veth,
    { kind: 'port', name: link.port, ...CONTAINER_PORT, netns },
    { kind: 'fdb', name: link.port, mac: link.mac, netns },
  ];
}

/** Puts the outer end of a link back into the NAT bridge. */
export const planNatPort = (link: ContainerLink): NetChange[] => [
  { kind: 'link', name: link.port, master: link.bridge, up: true },
  natPort(link),
];

function planInnerEnd({ name, address, prefix, gateway }: ContainerLink): NetChange[] {
  return [
    { kind: 'address', name, address, prefix, tolerant: true },
    { kind: 'link', name, up: true },
    ...(gateway === undefined
      ? []
      : [
          {
            kind: 'route',
            destination: '0.0.0.0',
            prefix: 0,
            via: gateway,
            name,
            tolerant: true,
          } satisfies NetChange,
        ]),
  ];
}
