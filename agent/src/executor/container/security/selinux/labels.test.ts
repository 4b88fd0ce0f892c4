import { type Random, systemRandom } from '@tessera/shared/env';
import { HostConfig } from '@tessera/shared/model';
import { describe, expect, test } from 'vitest';
import { namespacesOf } from '../../namespaces.js';
import { formatContext, parseContext, UNCONFINED_LEVEL } from './context.js';
import { labelFlag, labelRecord } from './label-record.js';
import { SelinuxLabels } from './labels.js';
import { policyOf, type Selinux } from './policy.js';

const CONTEXTS = `
process = "system_u:system_r:container_t:s0"
content = "system_u:object_r:virt_var_lib_t:s0"
file = "system_u:object_r:container_file_t:s0"
`;
const KNOWN =
  /^system_u:(system|object)_r:(container_t|container_file_t|container_init_t|spc_t)(:s0(:c\d+,c\d+)?)?$/;
const policy = (text = CONTEXTS): Selinux => policyOf(text, '/lxc_contexts', (label) => KNOWN.test(label));
const labels = (selinux: Selinux = policy(), random: Random = systemRandom) =>
  new SelinuxLabels(selinux, random);

/** Chance that gives these categories, one after the other. */
const drawing = (...categories: number[]): Random => ({
  ...systemRandom,
  next: () => (categories.shift() ?? 0) / 1024,
});

function container(
  asked: readonly string[] = [],
  host: Partial<HostConfig> = {},
  others: Record<string, string> = {},
) {
  const namespaces = namespacesOf(HostConfig.create(host));
  return { asked, privileged: false, namespaces, labelOf: (id: string) => others[id] ?? '' };
}

describe('a context', () => {
  test.each(['a:b:c', 'a:b:c:s0', 'a:b:c:s0-s0:c0.c1023'])('%s is read and written alike', (text) => {
    expect(formatContext(parseContext(text)!)).toBe(text);
  });

  test.each(['', 'a:b', 'a::c', 'a:b:c d', 'a:b:c:s0 '])('"%s" is none', (text) => {
    expect(parseContext(text)).toBeUndefined();
  });
});

describe('a policy', () => {
  test('without labels of containers, or with some that it does not have itself, is of no use', () => {
    expect(policy('')).toMatchObject({
      kind: 'unusable',
      reason: '/lxc_contexts names no labels of containers',
    });
    expect(policy(CONTEXTS.replace('container_t', 'svirt_lxc_net_t'))).toMatchObject({
      kind: 'unusable',
      reason: 'the policy does not know "system_u:system_r:svirt_lxc_net_t:s0:c0,c1023" of /lxc_contexts',
    });
  });

  test('that has none refuses what would be ignored, and nothing else', () => {
    const none = labels(policy(''));
    expect(() => none.assign('a', container(['disable', 'type:spc_t']))).toThrow(
      '"label=type:spc_t" cannot be honoured',
    );
    expect(none.assign('a', container(['disable']))).toBeUndefined();
    expect(labels({ kind: 'off' }).assign('a', container(['type:spc_t']))).toBeUndefined();
  });

  test('has a label for images, which any container may read', () => {
    expect(policy()).toMatchObject({ image: 'system_u:object_r:container_file_t:s0' });
    const own = `${CONTEXTS}ro_file = "system_u:object_r:spc_t:s0"\n`;
    expect(policy(own)).toMatchObject({ image: 'system_u:object_r:spc_t:s0' });
    expect(policy(own.replace('spc_t', 'container_ro_file_t'))).toMatchObject({
      image: 'system_u:object_r:container_file_t:s0',
    });
    const given = { process: 'a:b:c:s0:c1,c2', mount: 'a:b:d:s0:c1,c2' };
    expect(labelRecord(given, policy(own))).toEqual([
      { name: 'LABELS', strings: [given.process, given.mount, 'a:b:d:s0', 'system_u:object_r:spc_t:s0'] },
    ]);
    expect(labelRecord(given, { kind: 'off' })).toEqual([]);
    expect(labelRecord(undefined, policy())).toEqual([]);
  });

  test('may do without levels', () => {
    const levelless = CONTEXTS.replaceAll(':s0', '');
    const flat = labels(policy(levelless));
    const given = flat.assign('a', container())!;
    expect(given).toEqual({
      process: 'system_u:system_r:container_t',
      mount: 'system_u:object_r:container_file_t',
    });
    expect(labelRecord(given, policy(levelless))[0]!.strings![2]).toBe(given.mount);
  });
});

describe('levels', () => {
  test('are pairs of categories, the lower one first, and no two containers have the same', () => {
    const own = labels(policy(), drawing(9, 3, 3, 9, 4, 4, 1022, 1023, 5, 6));
    expect(own.assign('a', container())!.process).toBe('system_u:system_r:container_t:s0:c3,c9');
    expect(own.assign('b', container())).toEqual({
      process: 'system_u:system_r:container_t:s0:c5,c6',
      mount: 'system_u:object_r:container_file_t:s0:c5,c6',
    });
  });

  test('are free again once their container has gone, and not before: an earlier agent’s, or a user’s own', () => {
    const own = labels(policy(), drawing(1, 2, 3, 4, 5, 6, 1, 2));
    own.hold('a', { process: 'system_u:system_r:container_t:s0:c1,c2', mount: '' });
    own.assign('b', container(['level:s0:c3,c4']));
    expect(own.assign('c', container())!.process).toContain('s0:c5,c6');
    own.release('a');
    expect(own.assign('d', container())!.process).toContain('s0:c1,c2');
  });

  test('a host whose levels are all taken says so', () => {
    expect(() => labels(policy(), drawing()).assign('a', container())).toThrow('no SELinux level is left');
  });
});

describe('what is asked for', () => {
  const given = (...asked: string[]) => labels(policy(), drawing(1, 2)).assign('a', container(asked));

  test('replaces parts of the policy’s own labels', () => {
    expect(given('type:spc_t', 'level:s0:c5,c6')).toEqual({
      process: 'system_u:system_r:spc_t:s0:c5,c6',
      mount: 'system_u:object_r:container_file_t:s0:c5,c6',
    });
    expect(given('filetype:container_init_t')!.mount).toBe('system_u:object_r:container_init_t:s0:c1,c2');
    expect(given('type:container_init_t', 'disable')).toEqual({
      process: '',
      mount: `system_u:object_r:container_file_t:${UNCONFINED_LEVEL}`,
    });
  });

  test.each([
    ['enable', `bad label option "enable", valid options 'disable' or`],
    ['colour:blue', 'bad label option "colour", valid options are'],
    ['type:', 'bad label option "type:"'],
    ['level:s0 c1', 'bad label option "level:s0 c1"'],
    ['type:nobody_t', 'no label "system_u:system_r:nobody_t:s0:c1,c2"'],
  ])('%s is refused by name', (option, message) => {
    expect(() => given(option)).toThrow(message);
  });

  test('is nothing on a host’s own namespaces, or for one that is privileged, unless something is', () => {
    for (const host of [{ pidMode: 'host' }, { ipcMode: 'host' }])
      expect(labels().assign('a', container([], host))!.process).toBe('');
    expect(labels().assign('a', { ...container(['type:spc_t']), privileged: true })!.process).toBe('');
    expect(labels().assign('a', container(['type:spc_t'], { pidMode: 'host' }))!.process).toContain('spc_t');
  });

  test('is by default the label of the container that it joins; of two they must be the same', () => {
    const [one, two] = ['system_u:system_r:container_t:s0:c1,c2', 'system_u:system_r:container_t:s0:c3,c4'];
    const joining = { pidMode: 'container:x', ipcMode: 'container:y', networkMode: 'container:z' };
    const assigned = (others: Record<string, string>) =>
      labels().assign('a', container([], joining, others))!.process;
    expect(assigned({ x: one, y: one, z: two })).toBe(one);
    expect(assigned({ x: one })).toBe(one);
    expect(assigned({ z: two })).not.toBe(two);
    expect(() => assigned({ x: one, y: two })).toThrow(
      "--ipc and --pid containers SELinux labels aren't the same",
    );
  });
});

test('what is mounted is one container’s own with Z, and shared with z or as a volume', () => {
  const [own, shared] = [labelFlag({ type: 'bind', mode: 'ro,Z' }), labelFlag({ type: 'bind', mode: 'z' })];
  expect(new Set([own, shared, 0]).size).toBe(3);
  expect(labelFlag({ type: 'bind', mode: 'ro' })).toBe(0);
  expect(labelFlag({ type: 'volume', mode: '' })).toBe(shared);
  expect(labelFlag({ type: 'volume', mode: 'Z' })).toBe(own);
});
