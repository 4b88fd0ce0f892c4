import fc from 'fast-check';
import { expect, test } from 'vitest';
import { assignNumbers, type Contents, contentsFor, NOTHING, parseTable, planContents } from './balance.js';

const backendSet = fc.uniqueArray(
  fc.integer({ min: 1, max: 20 }).map((n) => `10.0.1.${n}`),
  { maxLength: 12 },
);

test('every backend has one number, without a gap, and most keep theirs', () => {
  fc.assert(
    fc.property(backendSet, backendSet, (before, wanted) => {
      const after = assignNumbers(before, wanted);

      expect([...after].sort()).toEqual([...wanted].sort());
      // Moved are only those whose number is now beyond the count.
      for (const [number, backend] of before.entries())
        if (wanted.includes(backend) && number < wanted.length) expect(after[number]).toBe(backend);
    }),
  );
});

/** Carries out the element commands on maps and sets, as the kernel would: adding what is there is an error. */
class ModelTable {
  readonly elements = {
    vips: new Map<string, string>(),
    backends: new Map<string, string>(),
    virtuals: new Map<string, string>(),
    peers: new Map<string, string>(),
  };
  readonly #chains = new Set(['none']);

  run(commands: string): void {
    for (const line of commands.split('\n').filter((text) => text !== '')) {
      const chain = /^add chain ip tessera (\S+)$/.exec(line)?.[1];
      if (chain) this.#chains.add(chain);
      const element = /^(add|delete) element ip tessera (\w+) \{ (.+) \}$/.exec(line);
      if (!element) continue;
      const [, verb, name, members = ''] = element;
      const map = this.elements[name as keyof ModelTable['elements']];
      for (const member of members.split(', ')) {
        const [key = '', value = ''] = member.split(' : ');
        if (map.has(key) === (verb === 'add')) throw new Error(`${line}: exists or not`);
        if (verb === 'add') map.set(key, value);
        else map.delete(key);
        if (name === 'vips' && verb === 'add' && !this.#chains.has(value.replace('goto ', '')))
          throw new Error(`${line}: no such chain`);
      }
    }
  }
}

test('the commands turn any contents into any other', () => {
  const wanted = fc.uniqueArray(
    fc.record({
      vip: fc.constantFrom('10.0.1.100', '10.0.1.101', '10.0.2.100'),
      backends: backendSet,
      others: backendSet,
    }),
    { selector: ({ vip }) => vip },
  );
  fc.assert(
    fc.property(fc.array(wanted, { minLength: 1, maxLength: 5 }), (steps) => {
      const table = new ModelTable();
      let contents: Contents = NOTHING;
      const picks = new Set<number>();
      for (const step of steps) {
        const next = contentsFor(step, contents.balance);
        table.run(planContents(contents, next, picks));
        for (const { length } of next.balance.values()) picks.add(length);
        contents = next;
      }

      const last = steps.at(-1) ?? [];
      const { vips, backends, virtuals, peers } = table.elements;
      expect(vips).toEqual(
        new Map(
          last.map(({ vip, backends: { length } }) => [
            vip,
            `goto ${length === 0 ? 'none' : `pick${length}`}`,
          ]),
        ),
      );
      expect([...backends.values()].sort()).toEqual(last.flatMap((service) => service.backends).sort());
      expect([...virtuals.keys()].sort()).toEqual(last.map(({ vip }) => vip).sort());
      const all = new Set(last.flatMap((service) => [...service.backends, ...service.others]));
      expect(new Set(peers.keys())).toEqual(all);
      expect(planContents(contents, contentsFor(last, contents.balance), picks)).toBe('');
    }),
  );
});

/** `list table ip tessera` as JSON. @param resolver elements of the map of that name */
function listing(resolver: readonly (readonly [string | number, number])[]): Record<string, unknown>[] {
  const chains = { none: 1, pick1: 1, local: 2, 'track-out': 3, 'track-in': 3, choose: 2, translate: 2 };
  return [
    { map: { name: 'resolver', elem: resolver } },
    { map: { name: 'vips', elem: [['10.0.1.2', { goto: { target: 'pick1' } }]] } },
    { map: { name: 'backends', elem: [[{ concat: ['10.0.1.2', 0] }, '10.0.1.5']] } },
    { set: { name: 'virtuals', elem: ['10.0.1.2'] } },
    { set: { name: 'peers', elem: ['10.0.1.5', '10.0.1.6'] } },
    ...Object.keys(chains).map((name) => ({ chain: { name } })),
    ...Object.entries(chains).flatMap(([chain, count]) => Array(count).fill({ rule: { chain } })),
  ];
}

test('a table with a rule too few is not mended but made anew', () => {
  const whole = listing([
    ['udp', 4000],
    ['tcp', 4001],
  ]);

  expect(parseTable(whole)).toEqual({
    contents: { balance: new Map([['10.0.1.2', ['10.0.1.5']]]), peers: new Set(['10.0.1.5', '10.0.1.6']) },
    picks: new Set([1]),
    resolver: { udp: 4000, tcp: 4001 },
  });
  for (const lost of [0, 1, 2, 3, 4, whole.length - 1])
    expect(parseTable(whole.filter((_, index) => index !== lost))).toBeUndefined();
});

test('the resolver’s ports are read on a host without /etc/protocols too, where protocols are numbers', () => {
  const state = parseTable(
    listing([
      [6, 4001],
      [17, 4000],
    ]),
  );

  expect(state?.resolver).toEqual({ udp: 4000, tcp: 4001 });
});
