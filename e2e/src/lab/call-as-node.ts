// Calls a manager with a node's own certificate, for what that node may not do, and prints what came of it.
//   call-as-node.js NODE_DIR MANAGER_HOST:PORT
import { readFileSync } from 'node:fs';
import { credentials } from '@grpc/grpc-js';
import { fromServiceError } from '@tessera/shared/errors';
import { DispatcherClient, ManagerPeersClient } from '@tessera/shared/wire';

const [directory, address] = process.argv.slice(2) as [string, string];
const file = (name: string) => readFileSync(`${directory}/${name}.pem`);
const channel = credentials.createSsl(file('ca'), file('key'), file('cert'));
const options = { 'grpc.ssl_target_name_override': 'tessera-manager' };

/** How a call ended: the kind of its error, or `allowed`. */
const outcome = (call: (done: (error: unknown) => void) => unknown): Promise<string> =>
  new Promise((resolve) => {
    call((error) => resolve(error ? fromServiceError(error).kind : 'allowed'));
  });

const peers = new ManagerPeersClient(address, channel, options);
const dispatcher = new DispatcherClient(address, channel, options);
const result = {
  requestStream: await outcome((done) => peers.requestStream({ nodeId: 'any', request: undefined }, done)),
  // No task of this node names the image: it is none of its business.
  foreignImage: await outcome((done) =>
    dispatcher.locateImage({ imageId: `sha256:${'0'.repeat(64)}` }, done),
  ),
};
peers.close();
dispatcher.close();
console.log(JSON.stringify(result));
