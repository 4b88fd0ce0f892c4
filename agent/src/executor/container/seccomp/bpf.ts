import type { SeccompArgument } from '@tessera/native';

// A compiler for allow-lists. libseccomp tests one number after the other, three thousand instructions for three
// architectures, which the kernel translates anew for every container. Most allowed numbers are neighbours: a binary
// search over ranges is a quarter as long. Source: linux/filter.h, linux/seccomp.h, seccomp(2).

export const ALLOW = 0x7fff0000;
export const ERRNO = 0x00050000;

const LOAD = 0x20;
const JUMP = 0x05;
const EQUAL = 0x15;
const ABOVE = 0x25;
const ABOVE_OR_EQUAL = 0x35;
const AND = 0x54;
const RETURN = 0x06;
const NUMBER_AT = 0;
const ARCH_AT = 4;
const ARGS_AT = 16;

type Instruction = readonly [code: number, jumpTrue: number, jumpFalse: number, value: number];

/** What a call gets: always the same, or what the first case says whose conditions hold. */
export type Verdict =
  | { readonly kind: 'return'; readonly value: number }
  | { readonly kind: 'cases'; readonly cases: readonly Case[]; readonly otherwise: number };

export interface Case {
  readonly when: readonly SeccompArgument[];
  readonly value: number;
}

/** The calls of one value of `seccomp_data.arch`. */
export interface ArchTable {
  readonly arch: number;
  /** A bit that is taken away first: x32 calls are x86_64 ones with a bit set. */
  readonly ignoredBit?: number;
  readonly calls: ReadonlyMap<number, Verdict>;
  /** For calls that are not in the table, and not above `last`. */
  readonly otherwise: number;
  readonly last: number;
  readonly aboveLast: number;
  /** From this number on the calls are another kind's, which is not in the profile. */
  readonly foreign?: { readonly from: number; readonly value: number };
}

/** The whole filter, as `struct sock_filter[]`. */
export function compileFilter(tables: readonly ArchTable[], otherArch: number): Buffer {
  const program = new Assembler();
  let next = program.result(otherArch);
  for (const table of [...tables].reverse()) {
    const search = program.search(ranges(table));
    const unmasked =
      table.ignoredBit === undefined ? search : program.add(AND, ~table.ignoredBit >>> 0, search);
    next = program.branch(EQUAL, table.arch, program.add(LOAD, NUMBER_AT, unmasked), next);
  }
  program.add(LOAD, ARCH_AT, next);
  return program.bytes();
}

/** Where an instruction lies, counted from the end: programs are written backwards, since jumps only go forward. */
type Place = number;

/** A conditional jump reaches this many instructions further; an unconditional one any number. */
const REACH = 255;

class Assembler {
  readonly #reversed: Instruction[] = [];
  /** The latest return of each value. */
  readonly #results = new Map<number, Place>();

  /** An instruction that goes on at `next`, wherever that is. */
  add(code: number, value: number, next: Place): Place {
    this.#goOnAt(next);
    return this.#put([code, 0, 0, value]);
  }

  branch(code: number, value: number, ifTrue: Place, ifFalse: Place): Place {
    let [to, or] = [ifTrue, ifFalse];
    // Room for the other's detour, should it need one.
    if (this.#distance(to) > REACH - 1) to = this.#put([JUMP, 0, 0, this.#distance(to)]);
    if (this.#distance(or) > REACH) or = this.#put([JUMP, 0, 0, this.#distance(or)]);
    return this.#put([code, this.#distance(to), this.#distance(or), value]);
  }

  /** Returns share one instruction where they can reach it. */
  result(value: number): Place {
    const known = this.#results.get(value);
    if (known !== undefined && this.#distance(known) < REACH - 2) return known;
    const place = this.#put([RETURN, 0, 0, value]);
    this.#results.set(value, place);
    return place;
  }

  /** Finds the range that the loaded number lies in. */
  search(all: readonly Range[]): Place {
    if (all.length === 1) return this.#verdict(all[0]!.verdict);
    const middle = all.length >> 1;
    const right = this.search(all.slice(middle));
    const left = this.search(all.slice(0, middle));
    return this.branch(ABOVE_OR_EQUAL, all[middle]!.from, right, left);
  }

  #verdict(verdict: Verdict): Place {
    if (verdict.kind === 'return') return this.result(verdict.value);
    const { cases, otherwise } = verdict;
    const values = valuesOf(verdict);
    if (values) return this.#argument(cases[0]!.when[0]!.index, values, otherwise);
    // The last one is written first.
    return [...cases].reverse().reduce((next, each) => this.#all(each, next), this.result(otherwise));
  }

  /** Searches the value of an argument; one of more than 32 bits is none of those asked for. */
  #argument(index: number, values: readonly Range[], otherwise: number): Place {
    const low = ARGS_AT + 8 * index;
    const search = this.add(LOAD, low, this.search(values));
    return this.add(LOAD, low + 4, this.branch(EQUAL, 0, search, this.result(otherwise)));
  }

  /** The case's value if all its conditions hold, else goes on at `next`. */
  #all({ when, value }: Case, next: Place): Place {
    return [...when]
      .reverse()
      .reduce((held, condition) => this.#test(condition, held, next), this.result(value));
  }

  /** Compares an argument, 64 bits wide, by its halves. */
  #test(condition: SeccompArgument, yes: Place, no: Place): Place {
    const { index, op } = condition;
    if (op === 'ne') return this.#test({ ...condition, op: 'eq' }, no, yes);
    if (op === 'lt') return this.#test({ ...condition, op: 'ge' }, no, yes);
    if (op === 'le') return this.#test({ ...condition, op: 'gt' }, no, yes);
    const [high, low] = halves(condition.value);
    const [maskHigh, maskLow] = halves(condition.mask ?? 0);
    const [lowAt, highAt] = [ARGS_AT + 8 * index, ARGS_AT + 8 * index + 4];
    if (op === 'maskedEq') {
      const both = this.add(LOAD, lowAt, this.add(AND, maskLow, this.branch(EQUAL, low, yes, no)));
      if (maskHigh === 0 && high === 0) return both;
      return this.add(LOAD, highAt, this.add(AND, maskHigh, this.branch(EQUAL, high, both, no)));
    }
    const compare = op === 'eq' ? EQUAL : op === 'ge' ? ABOVE_OR_EQUAL : ABOVE;
    const byLow = this.add(LOAD, lowAt, this.branch(compare, low, yes, no));
    const byHigh = this.branch(EQUAL, high, byLow, no);
    return this.add(LOAD, highAt, op === 'eq' ? byHigh : this.branch(ABOVE, high, yes, byHigh));
  }

  bytes(): Buffer {
    const program = [...this.#reversed].reverse();
    const bytes = Buffer.alloc(program.length * 8);
    program.forEach(([code, jumpTrue, jumpFalse, value], index) => {
      bytes.writeUInt16LE(code, index * 8);
      bytes.writeUInt8(jumpTrue, index * 8 + 2);
      bytes.writeUInt8(jumpFalse, index * 8 + 3);
      bytes.writeUInt32LE(value >>> 0, index * 8 + 4);
    });
    return bytes;
  }

  #put(instruction: Instruction): Place {
    return this.#reversed.push(instruction) - 1;
  }

  /** Instructions that a jump written now would skip. */
  #distance(to: Place): number {
    return this.#reversed.length - 1 - to;
  }

  #goOnAt(next: Place): void {
    if (this.#distance(next) > 0) this.#put([JUMP, 0, 0, this.#distance(next)]);
  }
}

interface Range {
  readonly from: number;
  readonly verdict: Verdict;
}

/** From 0 on, each range up to the next one's beginning; neighbours differ. */
function ranges({ calls, otherwise, last, aboveLast, foreign }: ArchTable): Range[] {
  const found: Range[] = [];
  const add = (from: number, verdict: Verdict) => {
    const before = found.at(-1);
    if (before && isSame(before.verdict, verdict)) return;
    found.push({ from, verdict });
  };
  const addGap = (from: number, to: number) => {
    if (from < to && from <= last) add(from, { kind: 'return', value: otherwise });
    if (to > last + 1) add(Math.max(from, last + 1), { kind: 'return', value: aboveLast });
  };
  let next = 0;
  for (const [number, verdict] of [...calls].sort(([a], [b]) => a - b)) {
    addGap(next, number);
    add(number, verdict);
    next = number + 1;
  }
  addGap(next, Number.POSITIVE_INFINITY);
  if (foreign) add(foreign.from, { kind: 'return', value: foreign.value });
  return found;
}

/** Upper and lower 32 bits. */
const halves = (value: number): readonly [number, number] => [Math.floor(value / 2 ** 32), value % 2 ** 32];

const isSame = (a: Verdict, b: Verdict): boolean =>
  a.kind === 'return' && b.kind === 'return' && a.value === b.value;

/** Many values of one argument, as for socket's families, as ranges; undefined when the conditions are others. */
function valuesOf({ cases, otherwise }: Verdict & { kind: 'cases' }): Range[] | undefined {
  const conditions = cases.flatMap(({ when }) => when);
  const { index } = conditions[0]!;
  const { value: result } = cases[0]!;
  const isSimple = cases.every(({ when, value }) => when.length === 1 && value === result);
  const isPlain = (each: SeccompArgument) =>
    each.index === index && (each.op === 'lt' || each.op === 'eq') && each.value < 2 ** 32;
  if (!isSimple || !conditions.every(isPlain)) return undefined;
  const yes: Verdict = { kind: 'return', value: result };
  const no: Verdict = { kind: 'return', value: otherwise };
  const edges = conditions.flatMap(({ op, value }) => (op === 'lt' ? [value] : [value, value + 1]));
  const isOne = (number: number) =>
    conditions.some(({ op, value }) => (op === 'lt' ? number < value : number === value));
  const found: Range[] = [];
  for (const from of [...new Set([0, ...edges])].sort((a, b) => a - b)) {
    const verdict = isOne(from) ? yes : no;
    if (from < 2 ** 32 && found.at(-1)?.verdict !== verdict) found.push({ from, verdict });
  }
  return found;
}
