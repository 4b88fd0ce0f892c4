import { type ChannelCredentials, type ClientOptions, credentials } from '@grpc/grpc-js';

/** What a node proves itself with, and whom it trusts. All PEM. */
export interface NodeCredentials {
  readonly keyPem: string;
  readonly certPem: string;
  readonly caCertPem: string;
}

/** DNS name in every manager's certificate, and in no worker's. Addresses change, names do not. */
export const MANAGER_NAME = 'tessera-manager';

/** Largest message taken: a piece of a full set. */
const RECEIVE_MAX_BYTES = 16 << 20;

/** How much may be on its way before it is taken: HTTP/2's default of 64 KiB lets an archive wait on every frame. */
const WINDOW_BYTES = 4 << 20;

export const nodeChannelCredentials = ({ keyPem, certPem, caCertPem }: NodeCredentials): ChannelCredentials =>
  credentials.createSsl(Buffer.from(caCertPem), Buffer.from(keyPem), Buffer.from(certPem));

/**
 * Options of a connection to a manager.
 *
 * Each client has a connection of its own: grpc-js shares one between equal channels, and then a bulk stream
 * would hold up heartbeats. The ping notices a peer that is gone without a word, within ten seconds; it is
 * patient, because a manager that is only slow must not lose its sessions over it.
 */
export const managerChannelOptions: ClientOptions = {
  'grpc.ssl_target_name_override': MANAGER_NAME,
  'grpc.default_authority': MANAGER_NAME,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.keepalive_time_ms': 2_000,
  'grpc.keepalive_timeout_ms': 8_000,
  'grpc.max_receive_message_length': RECEIVE_MAX_BYTES,
  'grpc.enable_retries': 0,
  'grpc.enable_channelz': 0,
  'grpc-node.flow_control_window': WINDOW_BYTES,
};
