import { invalid } from '@tessera/shared/errors';
import { PortBinding } from '@tessera/shared/model';
import ipaddr from 'ipaddr.js';
import type { HostConfigBody } from './schema.js';

const PORT_MAX = 65_535;

/** `80/tcp`; without a protocol it is TCP. @throws ClusterError `invalidArgument` */
export function parsePort(text: string): { readonly port: number; readonly protocol: string } {
  const [, digits = '', protocol = 'tcp'] = /^(\d{1,5})(?:\/(tcp|udp|sctp))?$/i.exec(text) ?? [];
  const port = Number(digits);
  if (digits === '' || port < 1 || port > PORT_MAX)
    throw invalid(`invalid port '${text}': write it as 80/tcp or 53/udp`);
  return { port, protocol: protocol.toLowerCase() };
}

export const formatPort = ({ port, protocol }: ReturnType<typeof parsePort>): string => `${port}/${protocol}`;

/** @throws ClusterError `invalidArgument` */
export function portsFromDocker(bindings: HostConfigBody['PortBindings']): PortBinding[] {
  return Object.entries(bindings ?? {}).flatMap(([text, hosts]) => {
    const { port, protocol } = parsePort(text);
    return (hosts ?? []).map(({ HostIp, HostPort }) => {
      const hostIp = HostIp ?? '';
      if (hostIp !== '' && !ipaddr.isValid(hostIp))
        throw invalid(`HostConfig.PortBindings.${text}.HostIp: '${hostIp}' is no IP address`);
      return PortBinding.fromPartial({
        protocol,
        containerPort: port,
        hostIp,
        hostPort: hostPort(HostPort, text),
      });
    });
  });
}

function hostPort(value: string | null | undefined, port: string): number {
  if (!value) return 0;
  const number = Number(value);
  if (!/^\d+$/.test(value) || number > PORT_MAX)
    throw invalid(
      `HostConfig.PortBindings.${port}.HostPort: '${value}' must be one port; ranges are not supported yet`,
    );
  return number;
}
