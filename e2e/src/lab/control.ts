import { connect, type Socket } from 'node:net';
import { createInterface, type Interface } from 'node:readline';
import { ClusterError } from '@tessera/shared/errors';
import { labDir } from './paths.js';

export type ControlRequest =
  | { readonly verb: 'status' | 'down' }
  | {
      readonly verb: 'kill' | 'start' | 'kill-agent' | 'start-agent' | 'cut' | 'heal';
      readonly host: string;
    };

export interface HostStatus {
  readonly name: string;
  readonly address: string;
  readonly socket: string;
  readonly dir: string;
  /** 0 when the host is off. */
  readonly pid: number;
  readonly agent: boolean;
}

export interface ControlReply {
  readonly ok: boolean;
  readonly error?: string;
  readonly hosts?: readonly HostStatus[];
}

/** Serves one connection: a request a line, a reply a line. */
export function answer(socket: Socket, perform: (request: ControlRequest) => Promise<ControlReply>): void {
  // A client that leaves before its answer is no concern of the lab's.
  socket.on('error', () => socket.destroy());
  linesOf(socket).on('line', (line) => {
    void perform(JSON.parse(line) as ControlRequest).then((reply) =>
      socket.end(`${JSON.stringify(reply)}\n`),
    );
  });
}

/** Asks the supervisor of lab `name`. @throws ClusterError `notFound` when no such lab is up */
export function ask(name: string, request: ControlRequest): Promise<ControlReply> {
  return new Promise((resolve, reject) => {
    const socket = connect(`${labDir(name)}/control.sock`);
    socket.once('error', (cause) =>
      reject(
        new ClusterError('notFound', `no lab named ${name} is up: start it with npm run lab up`, { cause }),
      ),
    );
    linesOf(socket).once('line', (line) => {
      const reply = JSON.parse(line) as ControlReply;
      if (reply.ok) resolve(reply);
      else reject(new ClusterError('internal', reply.error ?? 'the lab gave no reason'));
    });
    socket.write(`${JSON.stringify(request)}\n`);
  });
}

/** An interface passes its input's errors on, and ends the process with them if nobody listens. */
function linesOf(socket: Socket): Interface {
  return createInterface({ input: socket }).on('error', () => undefined);
}
