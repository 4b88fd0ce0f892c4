import { call, declare, type NativeFunction } from './library.js';
import type { Netns } from './netlink.js';

let run: NativeFunction | undefined;
let output = Buffer.alloc(64 << 10);

/**
 * Runs nft commands in a namespace, all of them or none. Blocks.
 *
 * @throws NativeCallError ENOENT, EEXIST or EBUSY where nftables says so, else EINVAL, with its text
 */
export function changeRules(netns: Netns, commands: string): void {
  execute(netns, commands, false);
}

/** The `nftables` array that a list command answers. Source: libnftables-json(5). */
export function listRules(netns: Netns, command: string): readonly Record<string, unknown>[] {
  const answer = JSON.parse(execute(netns, command, true)) as { nftables: Record<string, unknown>[] };
  return answer.nftables;
}

function execute(netns: Netns, commands: string, json: boolean): string {
  run ??= declare(
    'int rt_nft_run(int netns, const char *commands, int json, void *output, int capacity, _Out_ rt_error *err)',
  );
  const length = call(run, netns, commands, json ? 1 : 0, output, output.length);
  if (length < output.length) return output.toString('utf8', 0, length);
  // Only lists answer at length, and they may be asked twice.
  output = Buffer.alloc(length * 2);
  return execute(netns, commands, json);
}
