import type { BlockIo } from '../../live-container.js';

/** v1's blkio.throttle.io_service_bytes_recursive and io_serviced_recursive: lines "8:0 Read 4096". */
export function parseBlkio(bytes: string, operations: string): BlockIo[] {
  const counts = new Map(blkioLines(operations).map(({ key, value }) => [key, value]));
  return blkioLines(bytes).map(({ key, major, minor, op, value }) => ({
    major,
    minor,
    op,
    bytes: value,
    operations: counts.get(key) ?? 0,
  }));
}

function blkioLines(content: string) {
  return [...content.matchAll(/^(\d+):(\d+) (Read|Write) (\d+)$/gm)].map(([, major, minor, op, value]) => ({
    key: `${major}:${minor} ${op}`,
    major: Number(major),
    minor: Number(minor),
    op: op === 'Read' ? ('read' as const) : ('write' as const),
    value: Number(value),
  }));
}

/** v2's io.stat: lines "8:0 rbytes=1 wbytes=2 rios=3 wios=4 …". */
export function parseIoStat(content: string): BlockIo[] {
  return content.split('\n').flatMap((line): BlockIo[] => {
    const device = /^(\d+):(\d+) /.exec(line);
    if (!device) return [];
    const [major, minor] = [Number(device[1]), Number(device[2])];
    const value = (key: string) => Number(new RegExp(` ${key}=(\\d+)`).exec(line)?.[1] ?? 0);
    return [
      { major, minor, op: 'read', bytes: value('rbytes'), operations: value('rios') },
      { major, minor, op: 'write', bytes: value('wbytes'), operations: value('wios') },
    ];
  });
}
