import { type Case, created, docker, filters, http, running } from '../case.js';

const MINE = { Labels: { mine: '$c' } };
const list = (map: Readonly<Record<string, readonly string[]>>, query = 'all=1&') =>
  http(`GET /containers/json?${query}${filters({ label: ['mine=$c'], ...map })}`, {
    only: ['[*].Names', '[*].State'],
  });

/** `docker ps`: what it shows, and every filter. */
export const lists: readonly Case[] = [
  {
    name: 'list shows a running one',
    proves: 'every key of a summary',
    differs: [
      {
        at: '* body.[*].SizeRw[0]',
        why: 'what the writable layer takes on the disk, its directories with it; dockerd leaves out what is nought',
      },
    ],
    steps: [
      ...running({ ...MINE, HostConfig: { Binds: ['/usr/share:/mnt'] } }),
      http(`GET /containers/json?${filters({ label: ['mine=$c'] })}`),
      http(`GET /containers/json?size=1&${filters({ label: ['mine=$c'] })}`, {
        only: ['[*].Names', '[*].SizeRw'],
      }),
    ],
  },
  {
    name: 'list shows a created one',
    proves: 'what does not run is listed on demand',
    steps: [
      created(MINE),
      http(`GET /containers/json?${filters({ label: ['mine=$c'] })}`),
      http(`GET /containers/json?all=1&${filters({ label: ['mine=$c'] })}`),
    ],
  },
  {
    name: 'list by filter',
    proves: 'each filter finds those that fit, and those alone',
    steps: [
      ...running({ ...MINE, ExposedPorts: { '80/tcp': {} } }),
      created({ ...MINE, Cmd: ['false'] }, '$d'),
      list({}),
      list({}, ''),
      list({}, 'limit=1&'),
      list({}, 'all=1&limit=-1&'),
      list({ name: ['$d'] }),
      list({ name: ['^/$c$'] }),
      list({ name: ['^$c$'] }),
      list({ status: ['created'] }),
      list({ status: ['running'] }),
      list({ status: ['exited', 'created'] }, ''),
      list({ before: ['$d'] }),
      list({ since: ['$c'] }),
      list({ since: ['nobody'] }),
      list({ ancestor: ['busybox'] }),
      list({ ancestor: ['busybox:latest'] }),
      list({ ancestor: ['rich:1'] }),
      list({ expose: ['80'] }),
      list({ expose: ['80/udp'] }),
      list({ expose: ['70-90/tcp'] }),
      list({ expose: ['x'] }),
      list({ publish: ['80'] }),
      list({ health: ['none'] }),
      list({ health: ['healthy'] }),
      list({ health: ['x'] }),
      list({ network: ['bridge'] }),
      list({ network: ['nosuch'] }),
      list({ 'is-task': ['false'] }),
      list({ 'is-task': ['true'] }),
      list({ 'is-task': ['x'] }),
      list({ label: ['mine'], id: ['0'.repeat(64)] }),
      list({ volume: ['nosuch'] }),
    ],
    differs: [{ at: '*"expose":["x"]} status', why: 'a fault of the request is 400' }],
  },
  {
    name: 'list of those that ended',
    proves: 'the exit code can be asked for',
    steps: [
      created({ ...MINE, Cmd: ['sh', '-c', 'exit 3'] }),
      http('POST /containers/$c/start'),
      http('POST /containers/$c/wait'),
      list({ exited: ['3'] }),
      list({ exited: ['4'] }),
      list({ exited: ['3', '4'] }),
      list({ status: ['exited'] }, ''),
      docker("ps -a --filter name=^$c$ --format '{{.Names}} {{.Status}} {{.Command}} {{.State}}'"),
    ],
  },
  {
    name: 'ps as it is printed',
    proves: 'the columns are those of Docker',
    differs: [
      {
        at: 'docker p* stdout',
        why: 'ports are published on IPv4; one of all addresses is shown at that of its node',
      },
    ],
    steps: [
      docker('run -d --name $c -p 127.0.0.1:18081:80 -p 53/udp -l mine=$c busybox sleep 1000'),
      docker('ps --filter label=mine=$c'),
      docker('ps -q --filter label=mine=$c'),
      docker(
        "ps --filter label=mine=$c --format '{{json .Ports}} {{.Labels}} {{.Mounts}} {{.Networks}} {{.LocalVolumes}}'",
      ),
      docker('port $c'),
      docker('port $c 80'),
      docker('port $c 81'),
    ],
  },
];
