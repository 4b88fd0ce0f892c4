import { availableParallelism, totalmem } from 'node:os';
import { describe, expect, test } from 'vitest';
import { cgroupModeOf, parseCapacity, readCapacity } from './capacity.js';

/** A host whose files are these; every other one is missing. */
const host = (files: Record<string, string>) => (path: string) => {
  const content = { '/proc/sys/kernel/pid_max': '32768', ...files }[path];
  if (content === undefined) throw new Error(`ENOENT ${path}`);
  return content;
};

describe('what a node offers', () => {
  test('is the host where its group is not limited', () => {
    expect(readCapacity('/tessera', host({}))).toEqual({
      nanoCpus: availableParallelism() * 1e9,
      memoryBytes: totalmem(),
      pids: 32_768,
    });
  });

  test("is its group's limits on v2", () => {
    const capacity = readCapacity(
      '/slice/tessera',
      host({
        '/sys/fs/cgroup/slice/cpu.max': '50000 100000',
        '/sys/fs/cgroup/slice/memory.max': '1048576',
        '/sys/fs/cgroup/slice/pids.max': '100',
      }),
    );

    expect(capacity).toEqual({ nanoCpus: 0.5e9, memoryBytes: 1_048_576, pids: 100 });
  });

  test("is its group's limits on v1, where absent ones are huge or negative", () => {
    const limited = readCapacity(
      '/slice',
      host({
        '/sys/fs/cgroup/cpu/slice/cpu.cfs_quota_us': '150000',
        '/sys/fs/cgroup/cpu/slice/cpu.cfs_period_us': '100000',
        '/sys/fs/cgroup/memory/slice/memory.limit_in_bytes': '2097152',
      }),
    );
    const free = readCapacity(
      '/slice',
      host({
        '/sys/fs/cgroup/cpu/slice/cpu.cfs_quota_us': '-1',
        '/sys/fs/cgroup/cpu/slice/cpu.cfs_period_us': '100000',
        '/sys/fs/cgroup/memory/slice/memory.limit_in_bytes': '9223372036854771712',
        '/sys/fs/cgroup/pids/slice/pids.max': 'max',
      }),
    );

    expect(limited.nanoCpus).toBe(Math.min(1.5, availableParallelism()) * 1e9);
    expect(limited.memoryBytes).toBe(2_097_152);
    expect(free).toMatchObject({
      nanoCpus: availableParallelism() * 1e9,
      memoryBytes: totalmem(),
      pids: 32_768,
    });
  });
});

test('the least of all groups from the top down counts, and only the processors given to them', () => {
  const capacity = readCapacity(
    '/a/b',
    host({
      '/sys/fs/cgroup/memory.max': '4096',
      '/sys/fs/cgroup/a/memory.max': '8192',
      '/sys/fs/cgroup/a/b/memory.max': 'max',
      '/sys/fs/cgroup/a/b/cpuset.cpus.effective': '1',
      '/sys/fs/cgroup/pids/a/pids.max': '9',
    }),
  );

  expect(capacity).toEqual({ nanoCpus: 1e9, memoryBytes: 4096, pids: 9 });
});

test('a capacity given replaces what was read, part by part', () => {
  const read = { nanoCpus: 2e9, memoryBytes: 100, pids: 7 };

  expect(parseCapacity('', read)).toEqual(read);
  expect(parseCapacity('cpus=1.5,memory=1G', read)).toEqual({
    nanoCpus: 1.5e9,
    memoryBytes: 2 ** 30,
    pids: 7,
  });
  expect(parseCapacity('memory=1073741824,pids=50', read)).toEqual({
    nanoCpus: 2e9,
    memoryBytes: 2 ** 30,
    pids: 50,
  });
});

test('a capacity that is none is refused', () => {
  const read = { nanoCpus: 2e9, memoryBytes: 100, pids: 7 };
  for (const text of ['cpus=0', 'cpus=2G', 'memory=lots', 'disk=5', 'cpus'])
    expect(() => parseCapacity(text, read)).toThrow(`invalid --capacity "${text}"`);
});

test('the layout of the cgroups is read from the mounts', () => {
  const v1 = '30 20 0:26 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory';
  const v2 = '31 20 0:27 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw';
  const unified = '32 20 0:28 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw';

  expect(cgroupModeOf(v2)).toBe('v2');
  expect(cgroupModeOf(v1)).toBe('v1');
  expect(cgroupModeOf(`${v1}\n${unified}`)).toBe('hybrid');
});
