import { type Case, created, docker, http, inspected, running } from '../case.js';

/** From created to removed. */
export const life: readonly Case[] = [
  {
    name: 'run',
    proves: 'a container gives what it wrote and its exit code',
    steps: [docker("run --rm --name $c busybox sh -c 'echo out; echo err >&2; exit 7'")],
  },
  {
    name: 'run detached',
    proves: 'the id is printed and the container is up',
    steps: [
      docker('run -d --name $c busybox sleep 1000'),
      docker("ps --filter name=^$c$ --format '{{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Ports}}'"),
      docker('port $c'),
    ],
  },
  {
    name: 'create and inspect',
    proves: 'a created container shows every key with its default',
    versions: ['1.24', '1.41'],
    steps: [created(), http('GET /containers/$c/json')],
  },
  {
    name: 'create of an image with everything',
    proves: 'what it says is in the configuration, what the user says over it',
    steps: [
      http('POST /containers/create?name=$c', { body: { Image: 'rich:1' } }),
      http('GET /containers/$c/json', { only: ['Config', 'Path', 'Args', 'HostConfig.Binds'] }),
      http('POST /containers/create?name=$d', {
        body: { Image: 'rich:1', Cmd: ['x'], Env: ['FROM_IMAGE=no'], User: 'root', Volumes: { '/own': {} } },
      }),
      http('GET /containers/$d/json', {
        only: ['Config.Cmd', 'Config.Env', 'Config.User', 'Config.Volumes'],
      }),
    ],
  },
  {
    name: 'a name in /etc/hosts',
    proves: 'is at the address given, or at the gateway to the host',
    steps: [
      docker(
        'run --rm --name $c --add-host h:1.2.3.4 --add-host g:host-gateway busybox grep -E "[hg]$" /etc/hosts',
        { sorted: true },
      ),
    ],
  },
  {
    name: 'its own name and groups',
    proves:
      'a container finds itself by name, at its address on the bridge; its first group is among the others',
    steps: [
      docker("run --rm --name $c -h web --domainname ex.org busybox sh -c 'hostname -f; hostname -i'"),
      docker('run --rm --name $c -u 5:6 busybox id'),
    ],
  },
  {
    name: 'inspect a running one',
    proves: 'a running container shows its process, its network and its times',
    steps: [...running(), http('GET /containers/$c/json', { only: ['State', 'NetworkSettings'] })],
  },
  {
    name: 'start twice',
    proves: 'what runs is not started again: 304',
    steps: [...running(), http('POST /containers/$c/start')],
  },
  {
    name: 'stop twice',
    proves: 'what does not run is not stopped again: 304',
    steps: [
      ...running(),
      http('POST /containers/$c/stop?t=0'),
      http('POST /containers/$c/stop?t=0'),
      inspected('State.Status', 'State.ExitCode', 'State.OOMKilled', 'State.Dead', 'State.Error'),
    ],
  },
  {
    name: 'restart',
    proves: 'one that runs and one that does not are both started',
    steps: [
      ...running(),
      http('POST /containers/$c/restart?t=0'),
      inspected('State.Status', 'RestartCount'),
      http('POST /containers/$c/stop?t=0'),
      http('POST /containers/$c/restart?t=0'),
      inspected('State.Status', 'RestartCount'),
    ],
  },
  ...['9', 'KILL', 'SIGKILL', 'kill'].map(
    (signal): Case => ({
      name: `kill with ${signal}`,
      proves: 'a signal is a number or a name, with SIG or without',
      steps: [
        ...running(),
        http(`POST /containers/$c/kill?signal=${signal}`),
        http('POST /containers/$c/wait'),
      ],
    }),
  ),
  {
    name: 'kill with what is no signal',
    proves: 'it is refused, and by the name given',
    steps: [
      ...running(),
      http('POST /containers/$c/kill?signal=NOPE'),
      http('POST /containers/$c/kill?signal=99'),
      http('POST /containers/$c/kill?signal='),
    ],
  },
  {
    name: 'kill of one that does not run',
    proves: 'is a conflict',
    steps: [created(), http('POST /containers/$c/kill'), docker('kill $c')],
  },
  {
    name: 'pause and unpause',
    proves: 'each works once; meanwhile exec and a second pause are conflicts',
    differs: [
      {
        at: 'POST /containers/$c/unpause status',
        why: 'a conflict is 409; dockerd calls it a fault of its own',
      },
    ],
    steps: [
      ...running(),
      http('POST /containers/$c/pause'),
      inspected('State.Status', 'State.Running', 'State.Paused'),
      http('POST /containers/$c/pause'),
      http('POST /containers/$c/exec', { body: { Cmd: ['true'] } }),
      http('POST /containers/$c/start'),
      http('POST /containers/$c/unpause'),
      http('POST /containers/$c/unpause'),
      inspected('State.Status', 'State.Running', 'State.Paused'),
    ],
  },
  {
    name: 'pause of one that does not run',
    proves: 'is a conflict',
    differs: [
      {
        at: 'POST /containers/$c/unpause status',
        why: 'a conflict is 409; dockerd calls it a fault of its own',
      },
    ],
    steps: [created(), http('POST /containers/$c/pause'), http('POST /containers/$c/unpause')],
  },
  {
    name: 'wait',
    proves: 'each condition is answered when it is met, with the exit code',
    steps: [
      created({ Cmd: ['sh', '-c', 'exit 3'] }),
      http('POST /containers/$c/wait'),
      http('POST /containers/$c/wait?condition=not-running'),
      http('POST /containers/$c/wait?condition=next-exit', { during: [http('POST /containers/$c/start')] }),
      http('POST /containers/$c/wait'),
      http('POST /containers/$c/wait?condition=never'),
      http('POST /containers/$c/wait?condition=removed', { during: [http('DELETE /containers/$c')] }),
    ],
  },
  {
    name: 'remove',
    proves: 'one that runs is a conflict without force; with it it is gone',
    steps: [
      ...running(),
      http('DELETE /containers/$c'),
      docker('rm $c'),
      http('DELETE /containers/$c?force=1'),
      http('DELETE /containers/$c?force=1'),
      docker('rm -f $c'),
    ],
  },
  {
    name: 'rename',
    proves: 'a name taken is a conflict, one that is none is refused, and the new name is found',
    steps: [
      created(),
      http('POST /containers/$c/rename?name=$d'),
      http('GET /containers/$d/json', { only: ['Name'] }),
      http('POST /containers/$d/rename?name=$d'),
      http('POST /containers/$d/rename?name='),
      http('POST /containers/$d/rename?name=!bad'),
      http('POST /containers/$d/rename'),
      created(),
      http('POST /containers/$c/rename?name=$d'),
    ],
  },
];
