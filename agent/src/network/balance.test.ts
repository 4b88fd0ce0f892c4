import fc from 'fast-check';
import { expect, test } from 'vitest';
import { assignNumbers, type Balance, parseTable, planBalance, rebalance } from './balance.js';

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

/** Carries out the element commands on maps, as the kernel would: adding what is there is an error. */
function run(
  commands: string,
  vips: Map<string, string>,
  backends: Map<string, string>,
  chains: Set<string>,
): void {
  for (const line of commands.split('\n').filter((text) => text !== '')) {
    const element =
      /^(add|delete) element ip tessera (vips|backends) \{ (.+?)(?: : (?:goto )?(\S+))? \}$/.exec(line);
    const chain = /^add chain ip tessera (\S+)$/.exec(line)?.[1];
    if (chain) chains.add(chain);
    if (!element) continue;
    const [, verb, name, key = '', value = ''] = element;
    const map = name === 'vips' ? vips : backends;
    if (map.has(key) === (verb === 'add')) throw new Error(`${line}: exists or not`);
    if (verb === 'add') map.set(key, value);
    else map.delete(key);
    if (name === 'vips' && verb === 'add' && !chains.has(value)) throw new Error(`${line}: no such chain`);
  }
}

test('the commands turn any balance into any other, touching only what differs', () => {
  const wanted = fc.dictionary(fc.constantFrom('10.0.1.100', '10.0.1.101', '10.0.2.100'), backendSet);
  fc.assert(
    fc.property(fc.array(wanted, { minLength: 1, maxLength: 5 }), (steps) => {
      const vips = new Map<string, string>();
      const backends = new Map<string, string>();
      const chains = new Set(['none']);
      let balance: Balance = new Map();
      const picks = new Set<number>();
      for (const step of steps) {
        const next = rebalance(balance, new Map(Object.entries(step)));
        run(planBalance(balance, next, picks), vips, backends, chains);
        for (const { length } of next.values()) picks.add(length);
        balance = next;
      }

      const last = Object.entries(steps.at(-1) ?? {});
      expect(vips).toEqual(
        new Map(last.map(([vip, { length }]) => [vip, length === 0 ? 'none' : `pick${length}`])),
      );
      expect([...backends.values()].sort()).toEqual(last.flatMap(([, addresses]) => addresses).sort());
      expect(planBalance(balance, rebalance(balance, new Map(last)), picks)).toBe('');
    }),
  );
});

test('a table with a rule too few is not mended but made anew', () => {
  const chain = (name: string) => ({ chain: { name } });
  const rule = (name: string) => ({ rule: { chain: name } });
  const whole = [
    {
      map: {
        name: 'resolver',
        elem: [
          ['udp', 4000],
          ['tcp', 4001],
        ],
      },
    },
    { map: { name: 'vips', elem: [['10.0.1.2', { goto: { target: 'pick1' } }]] } },
    { map: { name: 'backends', elem: [[{ concat: ['10.0.1.2', 0] }, '10.0.1.5']] } },
    ...['none', 'pick1', 'choose', 'translate'].map(chain),
    ...['none', 'pick1', 'choose', 'choose', 'choose', 'translate', 'translate'].map(rule),
  ];

  expect(parseTable(whole)).toEqual({
    balance: new Map([['10.0.1.2', ['10.0.1.5']]]),
    picks: new Set([1]),
    resolver: { udp: 4000, tcp: 4001 },
  });
  expect(parseTable(whole.slice(0, -1))).toBeUndefined();
  expect(parseTable(whole.slice(1))).toBeUndefined();
});
