import type { Random } from '@tessera/shared/env';
import type { Answer, DecodedPacket, OptAnswer, Packet, Question } from 'dns-packet';
import {
  AUTHORITATIVE_ANSWER,
  decode,
  encode,
  RECURSION_AVAILABLE,
  RECURSION_DESIRED,
  TRUNCATED_RESPONSE,
} from 'dns-packet';
import type { NameIndex } from './name-index.js';

/** Seconds. Short: what `tasks.` answers changes with every task. */
const TTL = 5;
/** What fits in an answer by UDP where the question says nothing. Source: RFC 1035, 4.2.1. */
const UDP_MAX = 512;
/** What we send by UDP at most, whatever the question allows: below an overlay's MTU. */
const EDNS_MAX = 1232;

const RCODE = { noError: 0, formatError: 1, serverFailure: 2, nameError: 3, notImplemented: 4 } as const;
type Rcode = keyof typeof RCODE;

/** Whom a container may ask about. */
export interface NameView {
  readonly index: NameIndex;
  readonly networkIds: readonly string[];
}

export type Verdict =
  | { readonly kind: 'answer'; readonly answers: readonly Answer[]; readonly rcode: Rcode }
  /** Not ours: for the host's resolvers, where the container may ask them. */
  | { readonly kind: 'forward' };

/** A question parsed; undefined when it is not one that deserves an answer. */
export function parseQuery(message: Buffer): DecodedPacket | undefined {
  try {
    const query = decode(message);
    return query.type === 'query' ? query : undefined;
  } catch {
    return undefined;
  }
}

/** Decides what a container is told, or that somebody else must be asked. */
export function judge(query: DecodedPacket, view: NameView, random: Random): Verdict {
  const [question] = query.questions ?? [];
  // dns-packet gives it; its types do not.
  if ((query as { opcode?: string }).opcode !== 'QUERY') return refusal('notImplemented');
  if (!question || query.questions?.length !== 1) return refusal('formatError');
  const name = question.name.replace(/\.$/, '');
  if (question.type === 'PTR') return judgePointer(question, name, view);

  const addresses = view.index.find(view.networkIds, name);
  if (addresses) {
    // Only IPv4 here. Another type of a name that exists is an empty answer, not "no such name" (RFC 2308).
    const wanted = ['A', 'ANY'].includes(question.type) ? shuffle(addresses, random) : [];
    return {
      kind: 'answer',
      rcode: 'noError',
      answers: wanted.map((data) => ({ name: question.name, type: 'A', class: 'IN', ttl: TTL, data })),
    };
  }
  // Nobody outside knows our tasks, nor shall they learn what is asked about them.
  return /^tasks\.[^.]+$/i.test(name) ? refusal('nameError') : { kind: 'forward' };
}

function judgePointer(question: Question, name: string, { index, networkIds }: NameView): Verdict {
  const reversed = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa$/i.exec(name);
  if (!reversed) return { kind: 'forward' };
  const address = [4, 3, 2, 1].map((part) => reversed[part]).join('.');
  const owner = index.findOwner(networkIds, address);
  if (owner !== undefined) {
    const answer: Answer = { name: question.name, type: 'PTR', class: 'IN', ttl: TTL, data: owner };
    return { kind: 'answer', rcode: 'noError', answers: [answer] };
  }
  const isPlain = [1, 2, 3, 4].every((part) => Number(reversed[part]) < 256);
  return isPlain && index.covers(networkIds, address) ? refusal('nameError') : { kind: 'forward' };
}

const refusal = (rcode: Rcode): Verdict => ({ kind: 'answer', rcode, answers: [] });

/** Fisher and Yates. */
function shuffle(addresses: readonly string[], random: Random): string[] {
  const mixed = [...addresses];
  for (let last = mixed.length - 1; last > 0; last--) {
    const other = Math.floor(random.next() * (last + 1));
    [mixed[last], mixed[other]] = [mixed[other] as string, mixed[last] as string];
  }
  return mixed;
}

/** The answer as bytes; by UDP cut to what the asker takes, and marked so (it asks again by TCP). */
export function encodeAnswer(
  query: DecodedPacket,
  { answers, rcode }: { readonly answers: readonly Answer[]; readonly rcode: Rcode },
  transport: 'udp' | 'tcp',
): Buffer {
  const edns = query.additionals?.find((record): record is OptAnswer => record.type === 'OPT');
  const reply: Packet = {
    type: 'response',
    id: query.id ?? 0,
    flags:
      (query.flag_rd ? RECURSION_DESIRED : 0) | RECURSION_AVAILABLE | AUTHORITATIVE_ANSWER | RCODE[rcode],
    questions: query.questions ?? [],
    answers: [...answers],
    additionals: edns
      ? [
          {
            type: 'OPT',
            name: '.',
            udpPayloadSize: EDNS_MAX,
            extendedRcode: 0,
            ednsVersion: 0,
            flags: 0,
            flag_do: false,
            options: [],
          },
        ]
      : [],
  };
  const bytes = encode(reply);
  const limit = Math.min(Math.max(edns?.udpPayloadSize ?? UDP_MAX, UDP_MAX), EDNS_MAX);
  if (transport === 'tcp' || bytes.length <= limit) return bytes;
  return encode({ ...reply, flags: (reply.flags ?? 0) | TRUNCATED_RESPONSE, answers: [] });
}

/** What is said when nobody can be asked, or nobody answered. */
export const serverFailure = (query: DecodedPacket, transport: 'udp' | 'tcp'): Buffer =>
  encodeAnswer(query, { answers: [], rcode: 'serverFailure' }, transport);
