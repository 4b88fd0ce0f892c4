import { type Case, created, docker, filters, http, running, shell } from '../case.js';

/** The engine itself. */
export const system: readonly Case[] = [
  {
    name: 'ping',
    proves: 'clients learn versions from its headers, by GET and by HEAD',
    steps: [http('GET /_ping'), http('HEAD /_ping'), http('HEAD /_ping', { bare: true })],
    differs: [
      { at: '* /_ping header swarm', why: 'a manager of a cluster, which speaks for all of it' },
      { at: '* /_ping header builder-version', why: 'nothing is built yet: the client is told not to try' },
    ],
  },
  {
    name: 'version',
    proves: 'the keys of a version',
    versions: ['1.24', '1.41'],
    steps: [http('GET /version', { shape: true })],
    differs: [
      { at: 'GET /version body.BuildTime', why: 'an engine of its own, with a version of its own' },
      { at: 'GET /version body.Components*', why: 'an engine of its own, with a version of its own' },
    ],
  },
  {
    name: 'info',
    proves: 'the keys of what an engine is',
    differs: [
      { at: 'GET /info body.Swarm.*', why: 'an engine that is a cluster' },
      { at: 'GET /info body.Runtimes.*', why: "containers are run by Tessera's own runtime" },
    ],
    steps: [http('GET /info', { shape: true })],
  },
  {
    name: 'disk usage',
    proves: 'the keys of what takes room',
    alone: true,
    differs: [
      { at: 'GET /system/df body.Containers[0].SizeRw', why: 'is told also where it is nought' },
      { at: 'GET /system/df body.Volumes[0].Status.Node', why: 'says where it is' },
    ],
    steps: [
      shell('docker volume prune -f > pruned; docker image prune -f > pruned'),
      ...running({ HostConfig: { Binds: ['v-$c:/data'] } }),
      http('GET /system/df', {
        shape: true,
        only: [
          'LayersSize',
          'Images[0].Size',
          'Images[0].Containers',
          'Containers[0]',
          'Volumes',
          'BuilderSize',
        ],
      }),
      docker("system df --format '{{.Type}}'"),
      docker('rm -f $c'),
      docker('volume rm v-$c'),
    ],
  },
  {
    name: 'events of a container',
    proves: 'each thing that happens is told, once and in order',
    steps: [
      http(
        `GET /events?${filters({ container: ['$c'], event: ['create', 'start', 'die', 'destroy', 'rename', 'pause', 'unpause'] })}`,
        {
          lines: 7,
          during: [
            created({ Labels: { mine: 'yes' } }),
            http('POST /containers/$c/start'),
            http('POST /containers/$c/pause'),
            http('POST /containers/$c/unpause'),
            http('POST /containers/$c/stop?t=0'),
            http('DELETE /containers/$c'),
          ],
          only: [
            '[*].Type',
            '[*].Action',
            '[*].status',
            '[*].scope',
            '[*].from',
            '[*].Actor.Attributes.name',
            '[*].Actor.Attributes.mine',
            '[*].Actor.Attributes.image',
          ],
        },
      ),
    ],
  },
  {
    name: 'events of everything',
    proves: 'what happens to containers, networks, volumes and images is told in order',
    alone: true,
    steps: [
      http('GET /events', {
        lines: 26,
        during: [
          created({ HostConfig: { Binds: ['v-$c:/data'] } }),
          http('POST /containers/$c/start'),
          http('POST /containers/$c/restart?t=0'),
          http('POST /containers/$c/stop?t=0'),
          http('DELETE /containers/$c'),
          http('DELETE /volumes/v-$c'),
          http('GET /images/busybox/get'),
          http('POST /images/busybox/tag?repo=tagged-$c'),
          http('DELETE /images/tagged-$c'),
        ],
        only: ['[*].Type', '[*].Action', '[*].scope'],
      }),
    ],
  },
  {
    name: 'events of copies',
    proves: 'who looks for a path in a container mounts its volumes, and lets go of them',
    alone: true,
    differs: [{ at: '*.node.*', why: 'where it was, as the stand-alone Swarm told it' }],
    steps: [
      created({ HostConfig: { Binds: ['v-$c:/data:ro'] } }),
      http(
        `GET /events?${filters({ event: ['mount', 'unmount', 'archive-path', 'extract-to-dir', 'export', 'commit'] })}`,
        {
          lines: 19,
          during: [
            http('HEAD /containers/$c/archive?path=/etc/group'),
            http('HEAD /containers/$c/archive?path=/nosuch'),
            http('GET /containers/$c/archive?path=/etc/group'),
            http('GET /containers/$c/archive?path=/nosuch'),
            http('PUT /containers/$c/archive?path=/tmp', { body: Buffer.alloc(1024) }),
            http('PUT /containers/$c/archive?path=/nosuch', { body: Buffer.alloc(1024) }),
            http('GET /containers/$c/changes'),
            shell('docker export $c > exported.tar'),
            http('POST /containers/$c/start'),
            http('GET /containers/$c/archive?path=/etc/group'),
          ],
          only: ['[*].Type', '[*].Action', '[*].Actor.ID', '[*].Actor.Attributes'],
        },
      ),
      docker('rm -f $c'),
      docker('volume rm v-$c'),
    ],
  },
  {
    name: 'attributes of events',
    proves: 'say what is to be known of each',
    differs: [{ at: '*.node.*', why: 'where it was, as the stand-alone Swarm told it' }],
    steps: [
      http(`GET /events?${filters({ container: ['$c'] })}`, {
        lines: 15,
        during: [
          ...running({ Tty: true, Labels: { mine: 'yes' } }),
          http('POST /containers/$c/exec', {
            body: { Cmd: ['sh', '-c', 'exit 3'] },
            keep: { exec: 'Id' },
          }),
          http('POST /exec/$exec/start', { body: { Detach: true } }),
          http('GET /exec/$exec/json', { until: ['ExitCode', 3], only: ['ExitCode'] }),
          http('POST /containers/$c/resize?h=10&w=20'),
          http('GET /containers/$c/archive?path=/etc/group'),
          http('PUT /containers/$c/archive?path=/tmp', { body: Buffer.alloc(1024) }),
          shell('docker export $c > exported.tar'),
          http('GET /containers/$c/top', { only: ['Titles'] }),
          http('POST /containers/$c/update', { body: { CpuShares: 512 } }),
          http('POST /containers/$c/rename?name=$d'),
          http('POST /containers/$d/kill?signal=USR1'),
          http('POST /containers/$d/stop?t=0'),
        ],
        only: ['[*].Action', '[*].Actor.Attributes'],
      }),
    ],
  },
  {
    name: 'events of a commit',
    proves: 'its image is named, and the container tells of it',
    steps: [
      http(`GET /events?${filters({ container: ['$c'], event: ['commit'] })}`, {
        lines: 1,
        during: [...running(), http('POST /commit?container=$c&repo=committed-$c&comment=why')],
        only: ['[*].Action', '[*].Actor.Attributes'],
      }),
      http('DELETE /images/committed-$c?force=1', { only: ['[0].Untagged'] }),
    ],
  },
  {
    name: 'events of the past',
    proves: 'since and until bound what is told, and end it',
    differs: [{ at: 'GET /events?since=x *', why: 'a fault of the request is 400' }],
    steps: [
      http('GET /events?since=1&until=2'),
      http('GET /events?until=1'),
      http('GET /events?since=x'),
      docker('events --since 1 --until 2'),
    ],
  },
  {
    name: 'build cache prune',
    proves: 'what is not there takes no room, and system prune goes on to its end',
    steps: [http('POST /build/prune'), docker('builder prune -f')],
  },
  {
    name: 'container prune',
    proves: 'those that do not run and fit the filter go',
    differs: [{ at: '* body.message', why: 'says what may be written' }],
    steps: [
      created({ Labels: { prune: '$c' } }),
      http(`POST /containers/prune?${filters({ label: ['prune=$c'], until: ['24h'] })}`),
      http(`POST /containers/prune?${filters({ nosuch: ['x'] })}`),
      http(`POST /containers/prune?${filters({ until: ['x'] })}`),
      http(`POST /containers/prune?${filters({ label: ['prune=$c'] })}`),
      http(`POST /containers/prune?${filters({ label: ['prune=$c'] })}`),
      http('GET /containers/$c/json'),
    ],
  },
  {
    name: 'update',
    proves: 'limits and the restart policy change, also of one that runs',
    differs: [{ at: 'POST /containers/$c/update body.message', why: 'says where the JSON breaks off' }],
    steps: [
      ...running({ HostConfig: { Memory: 64 * 2 ** 20 } }),
      http('POST /containers/$c/update', { body: { Memory: 32 * 2 ** 20, CpuShares: 512, PidsLimit: 50 } }),
      http('POST /containers/$c/update', {
        body: { RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 } },
      }),
      http('GET /containers/$c/json', {
        only: [
          'HostConfig.Memory',
          'HostConfig.CpuShares',
          'HostConfig.PidsLimit',
          'HostConfig.RestartPolicy',
        ],
      }),
      docker('update --restart nonsense $c'),
      http('POST /containers/$c/update', { body: '{' }),
    ],
  },
  {
    name: 'refused update',
    proves: 'it leaves the container as it was',
    steps: [
      ...running({ HostConfig: { Memory: 64 * 2 ** 20 } }),
      http('POST /containers/$c/update', { body: { Memory: 1024 } }),
      http('POST /containers/$c/update', { body: {} }),
      docker('update --cpus 0.5 $c'),
      docker('update -m 1k $c'),
    ],
  },
  {
    name: 'update of the policy of one that goes by itself',
    proves: 'is a conflict',
    steps: [
      ...running({ HostConfig: { AutoRemove: true } }),
      http('POST /containers/$c/update', { body: { RestartPolicy: { Name: 'always' } } }),
    ],
  },
  {
    name: 'a health check',
    proves: 'its state and its last results are shown',
    steps: [
      ...running({ Healthcheck: { Test: ['CMD-SHELL', 'echo fine'], Interval: 100_000_000, Retries: 1 } }),
      http('GET /containers/$c/json', {
        until: ['State.Health.Status', 'healthy'],
        only: [
          'State.Health.Status',
          'State.Health.FailingStreak',
          'State.Health.Log[0].ExitCode',
          'State.Health.Log[0].Output',
        ],
      }),
      docker("ps --filter name=^$c$ --filter health=healthy --format '{{.Names}} {{.Status}}'"),
    ],
  },
  {
    name: 'a shell for health checks',
    proves: "runs what is given as CMD-SHELL; it is the container's own, and not its image's",
    steps: [
      ...running({
        Shell: ['/bin/echo', 'asked'],
        Healthcheck: { Test: ['CMD-SHELL', 'fine'], Interval: 100_000_000, Retries: 1 },
      }),
      http('GET /containers/$c/json', {
        until: ['State.Health.Status', 'healthy'],
        only: ['State.Health.Log[0].Output', 'Config.Shell', 'Config.Healthcheck.Test'],
      }),
      http('POST /commit?container=$c&repo=shelled-$c&pause=0', { only: ['nothing'] }),
      http('GET /images/shelled-$c/json', { only: ['Config.Shell', 'Config.Healthcheck.Test'] }),
      created({ Image: 'shelled-$c' }, '$d'),
      http('GET /containers/$d/json', { only: ['Config.Shell', 'Config.Healthcheck.Test'] }),
      docker('rm -f $c $d'),
      http('DELETE /images/shelled-$c?force=1', { only: ['[0].Untagged'] }),
    ],
  },
  {
    name: 'a restart policy',
    proves: 'one that fails is started again so many times, and no more',
    steps: [
      created({
        Cmd: ['false'],
        HostConfig: { RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 } },
      }),
      http('POST /containers/$c/start'),
      http('GET /containers/$c/json', {
        until: ['RestartCount', 2],
        only: ['RestartCount'],
      }),
      http('GET /containers/$c/json', {
        until: ['State.Status', 'exited'],
        only: ['State.Status', 'State.ExitCode', 'State.Restarting', 'RestartCount'],
      }),
    ],
  },
  {
    name: 'one killed for memory',
    proves: 'tells that it was',
    steps: [
      created({
        Cmd: ['sh', '-c', 'tail /dev/zero'],
        HostConfig: { Memory: 16 * 2 ** 20, MemorySwap: 16 * 2 ** 20 },
      }),
      http('POST /containers/$c/start'),
      http('POST /containers/$c/wait'),
      http('GET /containers/$c/json', { only: ['State.Status', 'State.OOMKilled', 'State.ExitCode'] }),
    ],
  },
];
