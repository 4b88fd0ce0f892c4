import type { Link, Neighbour, NetChange, PlacedChange } from '@tessera/native';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type FabricNetwork, type FabricState, planLeftovers, planNetwork } from './fabric-plan.js';
import { macOf } from './subnets.js';

const PLACES = { fabric: 7, host: 8 };

/** The fabric's namespace as a model: what the kernel does with each change. Refuses what the kernel refuses. */
class ModelFabric {
  links: Link[] = [aLink(1, 'lo', undefined)];
  forwarding: Neighbour[] = [];
  neighbours: Neighbour[] = [];
  #lastIndex = 1;

  get state(): FabricState {
    return { links: this.links, forwarding: this.forwarding, neighbours: this.neighbours };
  }

  apply(changes: readonly (NetChange | PlacedChange)[]): void {
    for (const change of changes) this.#applyOne(change);
  }

  #applyOne(change: NetChange): void {
    switch (change.kind) {
      case 'bridge':
        this.#add(change.name, 'bridge', { mtu: change.mtu ?? 1500, up: true });
        break;
      case 'vxlan': {
        const clash = this.links.some(({ vxlan }) => vxlan?.vni === change.vni && vxlan.port === change.port);
        if (clash) throw new Error(`VNI ${change.vni} is taken`);
        const { vni, port, local } = change;
        this.#add(change.name, 'vxlan', { mtu: change.mtu, up: false, vxlan: { vni, port, local } });
        break;
      }
      case 'link':
        this.#change(change.name, (link) => ({
          ...link,
          up: change.up ?? link.up,
          mtu: change.mtu ?? link.mtu,
          ...(change.master === undefined
            ? {}
            : {
                master: this.#find(change.master).index,
                port: { learning: true, flood: true, isolated: false, locked: false },
              }),
        }));
        break;
      case 'port': {
        const { learning = false, flood = false, isolated = false, locked = false } = change;
        this.#change(change.name, (link) => {
          if (link.master === undefined) throw new Error(`${link.name} is not a port`);
          return { ...link, port: { learning, flood, isolated, locked } };
        });
        break;
      }
      case 'link-delete': {
        const { index } = this.#find(change.name);
        this.links = this.links
          .filter((link) => link.index !== index)
          .map((link) => (link.master === index ? { ...link, master: undefined, port: undefined } : link));
        this.forwarding = this.forwarding.filter(
          (entry) =>
            entry.index !== index &&
            (!entry.ofBridge || this.links.find((l) => l.index === entry.index)?.master !== undefined),
        );
        this.neighbours = this.neighbours.filter((entry) => entry.index !== index);
        break;
      }
      case 'fdb': {
        const { index, master } = this.#find(change.name);
        const ofBridge = change.to === undefined;
        if (ofBridge && master === undefined) throw new Error(`${change.name} is not a port`);
        const members = this.links.filter((link) => link.master === master).map((link) => link.index);
        this.forwarding = this.forwarding.filter(
          (entry) =>
            entry.ofBridge !== ofBridge ||
            entry.mac !== change.mac ||
            !(ofBridge ? members : [index]).includes(entry.index),
        );
        this.forwarding.push({ index, mac: change.mac, address: change.to, isStatic: true, ofBridge });
        break;
      }
      case 'fdb-delete': {
        const { index } = this.#find(change.name);
        this.forwarding = this.forwarding.filter(
          (entry) => entry.index !== index || entry.mac !== change.mac || entry.address !== change.to,
        );
        break;
      }
      case 'neighbour': {
        const { index } = this.#find(change.name);
        this.neighbours = this.neighbours.filter((e) => e.index !== index || e.address !== change.address);
        const { address, mac } = change;
        this.neighbours.push({ index, mac, address, isStatic: true, ofBridge: false });
        break;
      }
      case 'neighbour-delete': {
        const { index } = this.#find(change.name);
        this.neighbours = this.neighbours.filter((e) => e.index !== index || e.address !== change.address);
        break;
      }
      default:
        throw new Error(`the fabric's plan has no ${change.kind}`);
    }
  }

  addPort(name: string): void {
    this.#add(name, 'veth', { mtu: 1450, up: true });
  }

  #add(name: string, kind: string, part: Partial<Link>): void {
    if (this.links.some((link) => link.name === name)) throw new Error(`${name} exists`);
    this.links.push({ ...aLink(++this.#lastIndex, name, kind), ...part });
  }

  #find(name: string): Link {
    const link = this.links.find((candidate) => candidate.name === name);
    if (!link) throw new Error(`no link ${name}`);
    return link;
  }

  #change(name: string, how: (link: Link) => Link): void {
    const link = this.#find(name);
    this.links = this.links.map((candidate) => (candidate === link ? how(link) : candidate));
  }
}

const aLink = (index: number, name: string, kind: string | undefined): Link => ({
  index,
  name,
  kind,
  up: false,
  mtu: 1500,
  mac: '00:00:00:00:00:00',
  master: undefined,
  port: undefined,
  vxlan: undefined,
});

function reconcile(model: ModelFabric, desired: readonly FabricNetwork[]): number {
  const leftovers = planLeftovers(desired, model.links, undefined);
  model.apply(leftovers);
  let count = leftovers.length;
  for (const network of desired) {
    const changes = planNetwork(network, model.state, PLACES);
    model.apply(changes);
    count += changes.length;
  }
  return count;
}

const endpointNumber = fc.integer({ min: 2, max: 12 });
const networkArbitrary = (vni: number): fc.Arbitrary<FabricNetwork> =>
  fc
    .record({
      remotes: fc.uniqueArray(fc.record({ number: endpointNumber, host: fc.integer({ min: 1, max: 4 }) }), {
        selector: ({ number }) => number,
      }),
      local: fc.constantFrom('10.99.0.1', '10.99.0.9'),
      mtu: fc.constantFrom(1450, 1400),
    })
    .map(({ remotes, local, mtu }) => ({
      networkId: `network-${vni}`,
      vni,
      port: 4789,
      local,
      mtu,
      remotes: remotes.map(({ number, host }) => ({
        address: `10.0.1.${number}`,
        mac: macOf(`10.0.1.${number}`),
        host: `10.99.0.${host}`,
      })),
      ports: [
        {
          name: `tv-${vni}`,
          mac: macOf(`10.0.1.${100 + (vni % 100)}`),
          address: `10.0.1.${100 + (vni % 100)}`,
        },
      ],
    }));
const desiredArbitrary = fc
  .uniqueArray(fc.integer({ min: 4097, max: 4100 }), { maxLength: 3 })
  .chain((vnis) => fc.tuple(...vnis.map(networkArbitrary)));

test('from any state one pass brings what is desired, and the next one finds nothing to do', () => {
  fc.assert(
    fc.property(desiredArbitrary, desiredArbitrary, fc.array(fc.nat()), (before, after, lost) => {
      const model = new ModelFabric();
      for (const { ports } of after) for (const { name } of ports) model.addPort(name);
      reconcile(model, before);
      // What somebody else takes away.
      for (const pick of lost) {
        const victims = model.links.filter(({ kind }) => kind === 'bridge' || kind === 'vxlan');
        const victim = victims[pick % Math.max(victims.length, 1)];
        if (victim) model.apply([{ kind: 'link-delete', name: victim.name }]);
        model.forwarding = model.forwarding.filter((_, index) => index !== pick % 7);
        model.neighbours = model.neighbours.filter((_, index) => index !== pick % 5);
      }

      reconcile(model, after);

      for (const { vni, remotes } of after) {
        const vxlan = model.links.find(({ name }) => name === `vx-network-${vni}`) as Link;
        const tunnel = model.forwarding.filter(({ index, ofBridge }) => index === vxlan.index && !ofBridge);
        expect(tunnel.map(({ mac, address }) => `${mac} ${address}`).sort()).toEqual(
          remotes.map(({ mac, host }) => `${mac} ${host}`).sort(),
        );
        const known = model.neighbours.filter(({ index }) => index === vxlan.index);
        expect(known.map(({ address }) => address).sort()).toEqual(
          remotes.map(({ address }) => address).sort(),
        );
        expect(vxlan).toMatchObject({ up: true, port: { learning: false, flood: false } });
        const port = model.links.find(({ name }) => name === `tv-${vni}`);
        expect(port).toMatchObject({ master: vxlan.master, port: { locked: true } });
      }
      const devices = model.links.filter(({ kind }) => kind === 'bridge' || kind === 'vxlan');
      expect(devices).toHaveLength(after.length * 2);
      expect(reconcile(model, after)).toBe(0);
    }),
    { numRuns: 200 },
  );
});

test('an endpoint that comes or goes changes three entries and no device', () => {
  const network = (numbers: readonly number[]): FabricNetwork => ({
    networkId: 'n',
    vni: 4097,
    port: 4789,
    local: '10.99.0.1',
    mtu: 1450,
    ports: [],
    remotes: numbers.map((n) => ({ address: `10.0.1.${n}`, mac: macOf(`10.0.1.${n}`), host: '10.99.0.2' })),
  });
  const model = new ModelFabric();
  reconcile(model, [network([5, 6])]);

  const added = planNetwork(network([5, 6, 7]), model.state, PLACES);
  const removed = planNetwork(network([5]), model.state, PLACES);

  expect(added.map(({ kind }) => kind).sort()).toEqual(['fdb', 'fdb', 'neighbour']);
  expect(removed.map(({ kind }) => kind).sort()).toEqual(['fdb-delete', 'fdb-delete', 'neighbour-delete']);
});

test('a port is a leftover once those of before have been adopted and nobody here claims it', () => {
  const model = new ModelFabric();
  model.addPort('tv-claimed');
  model.addPort('tv-of-nobody');
  model.apply([{ kind: 'bridge', name: 'br-4711' }]);
  const leftovers = (ports: ReadonlySet<string> | undefined) =>
    planLeftovers([], model.links, ports).map(({ name }) => name);

  expect(leftovers(undefined)).toEqual(['br-4711']);
  expect(leftovers(new Set(['tv-claimed']))).toEqual(['tv-of-nobody', 'br-4711']);
});
