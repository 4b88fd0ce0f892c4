/** The name of the client socket in etcd's working directory: it listens on `unix://NAME:PORT` and on no path. */
const CLIENT_SOCKET = 'client:0';
const PEER_SOCKET = 'peer:0';

/** The most that etcd recommends. */
export const QUOTA_BYTES = 8 * 2 ** 30;

export interface MemberOptions {
  /** The member's name: the node's id. */
  readonly name: string;
  readonly dataDir: string;
  /** Working directory, 0700, where the sockets lie. Its path is short: a socket's has at most 107 bytes. */
  readonly runDir: string;
  /** Size of the database at which etcd takes no more writes; QUOTA_BYTES when left out. */
  readonly quotaBytes?: number;
}

/** Both sockets, relative to the working directory. */
export const SOCKETS = [CLIENT_SOCKET, PEER_SOCKET];

export const clientEndpoint = (runDir: string): string => `unix:${runDir}/${CLIENT_SOCKET}`;

/**
 * How a cluster's own etcd is run. Only its manager, by a socket in a directory of its own, can reach it. A
 * member alone has no peers; its peer address is changed (member update) when a second manager joins.
 *
 * Source: etcd 3.4, `etcd --help`.
 */
export function memberFlags({ name, dataDir, quotaBytes = QUOTA_BYTES }: MemberOptions): readonly string[] {
  const peerUrl = 'http://localhost:2380';
  return [
    `--name=${name}`,
    `--data-dir=${dataDir}`,
    `--listen-client-urls=unix://${CLIENT_SOCKET}`,
    '--advertise-client-urls=http://localhost:2379',
    `--listen-peer-urls=unix://${PEER_SOCKET}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=${name}=${peerUrl}`,
    '--initial-cluster-state=new',
    // Nothing reads old revisions but a look-up after a lost answer, moments later.
    '--auto-compaction-mode=periodic',
    '--auto-compaction-retention=1h',
    `--quota-backend-bytes=${quotaBytes}`,
    // A tenth of the default: a snapshot more often, and less memory and a shorter replay after a crash.
    '--snapshot-count=10000',
    '--logger=zap',
    '--log-outputs=stderr',
    '--log-level=warn',
  ];
}
