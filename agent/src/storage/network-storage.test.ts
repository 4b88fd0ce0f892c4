import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Endpoint, NetworkAssignment, VirtualService } from '@tessera/shared/wire';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { AgentDirectory } from './agent-storage.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tessera-storage-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

test('networks are found again as they were last written, each item where it belongs', () => {
  expect(new AgentDirectory(dir).networks()).toBeUndefined();
  const networks = {
    networks: [NetworkAssignment.fromPartial({ network: { id: 'net-1' }, dataPathPort: 4789 } as never)],
    endpoints: [
      Endpoint.fromPartial({ taskId: 'a', networkId: 'net-1', addr: '10.0.1.5/24', state: 'ready' }),
    ],
    virtualServices: [VirtualService.fromPartial({ serviceId: 's', addr: '10.0.1.2/24' })],
  };
  new AgentDirectory(dir).putNetworks({ networks: [], endpoints: [], virtualServices: [] });
  new AgentDirectory(dir).putNetworks(networks);

  expect(new AgentDirectory(dir).networks()).toEqual(networks);
});
