import { type Case, created, docker, http, running, shell, socket } from '../case.js';

const SPEAKS = { Cmd: ['sh', '-c', 'echo out; echo err >&2'] };
const ECHOES = { Cmd: ['cat'], OpenStdin: true, StdinOnce: true, AttachStdin: true };
const start = http('POST /containers/$c/start');
const wait = http('POST /containers/$c/wait');

/** Attach, logs, and everything else that flows. */
export const streams: readonly Case[] = [
  {
    name: 'attach before the start',
    proves:
      'all that is written comes, on the stream it was written to; 101 when asked to upgrade and 200 otherwise',
    versions: ['1.41', '1.44'],
    steps: [
      created(SPEAKS),
      http('POST /containers/$c/attach?stream=1&stdout=1&stderr=1', { upgrade: true, during: [start] }),
      wait,
      http('POST /containers/$c/attach?stream=1&stdout=1&stderr=1', { during: [start] }),
      wait,
      http('POST /containers/$c/attach?logs=1&stdout=1', { upgrade: true }),
    ],
  },
  {
    name: 'attach to a terminal',
    proves: 'what comes is raw',
    versions: ['1.41', '1.44'],
    steps: [
      created({ ...SPEAKS, Tty: true }),
      http('POST /containers/$c/attach?stream=1&stdout=1&stderr=1', { upgrade: true, during: [start] }),
    ],
  },
  {
    name: 'attach with input',
    proves: 'input reaches the command, its end as well',
    steps: [
      created(ECHOES),
      http('POST /containers/$c/attach?stream=1&stdin=1&stdout=1', {
        upgrade: true,
        input: 'one\ntwo\n',
        during: [start],
      }),
      wait,
    ],
  },
  {
    name: 'attach without a choice',
    proves: 'logs or stream must be chosen',
    steps: [
      ...running(),
      http('POST /containers/$c/attach', { upgrade: true }),
      http('POST /containers/$c/attach'),
    ],
    differs: [{ at: '*', why: 'an error is JSON as everywhere, and not a line on a stream' }],
  },
  {
    name: 'attach to what is not there or paused',
    proves: 'is refused on the connection',
    steps: [
      http('POST /containers/nobody/attach?stream=1&stdout=1', { upgrade: true }),
      docker('attach nobody'),
      ...running(),
      http('POST /containers/$c/pause'),
      docker('attach $c'),
    ],
    differs: [
      {
        at: 'POST /containers/nobody/attach*',
        why: 'an error is JSON as everywhere, and not a line on a stream',
      },
    ],
  },
  {
    name: 'attach over a WebSocket',
    proves: 'messages come as they are written',
    differs: [{ at: 'WS * body', why: 'the streams that were asked for, as dockerd does since API 1.42' }],
    steps: [created(SPEAKS), socket('/containers/$c/attach/ws?stream=1&stdout=1', { during: [start] })],
  },
  {
    name: 'run with input',
    proves: "the client's input ends the command, and its output comes whole",
    steps: [
      docker("run -i --rm --name $c busybox sh -c 'cat; echo done'", { input: 'first\nsecond\n' }),
      docker('run -i --rm --name $c busybox wc -c', { input: 'x'.repeat(100_000) }),
    ],
  },
  {
    name: 'run attached by choice',
    proves: '-a chooses the streams',
    steps: [
      docker("run --rm --name $c -a stderr busybox sh -c 'echo out; echo err >&2'"),
      docker('run --name $c -d -a stdout busybox true'),
    ],
  },
  {
    name: 'logs',
    proves: 'each option shows what it says, with the streams apart',
    versions: ['1.41', '1.44'],
    differs: [
      { at: 'GET /containers/$c/logs?stdout=1&tail=x *', why: 'a fault of the request is 400' },
      { at: 'GET /containers/$c/logs?stdout=1&since=x *', why: 'a fault of the request is 400' },
    ],
    steps: [
      created({ Cmd: ['sh', '-c', 'echo bad >&2; sleep 0.2; for i in 1 2 3; do echo line $i; done'] }),
      start,
      wait,
      http('GET /containers/$c/logs?stdout=1'),
      http('GET /containers/$c/logs?stderr=1'),
      http('GET /containers/$c/logs?stdout=1&tail=2'),
      http('GET /containers/$c/logs?stdout=1&tail=0'),
      http('GET /containers/$c/logs?stdout=1&tail=all'),
      http('GET /containers/$c/logs?stdout=1&tail=x'),
      http('GET /containers/$c/logs?stdout=1&tail=1&timestamps=1'),
      http('GET /containers/$c/logs?stdout=1&tail=1&details=1'),
      http('GET /containers/$c/logs?stdout=1&since=4000000000'),
      http('GET /containers/$c/logs?stdout=1&until=1'),
      http('GET /containers/$c/logs?stdout=1&since=x'),
      http('GET /containers/$c/logs?stdout=1&follow=1&tail=1'),
      http('GET /containers/$c/logs'),
      docker('logs $c'),
      docker('logs -n 1 $c'),
      docker('logs --since 1h $c'),
    ],
  },
  {
    name: 'logs within max-size',
    proves: 'of what is written in one burst, too, only the end is kept',
    steps: [
      docker('run --name $c --log-opt max-size=1k busybox seq 1 999'),
      shell('docker logs $c | tail -1'),
      shell('test $(docker logs $c | wc -l) -lt 100 && echo few'),
      docker('run --name $d --log-driver local --log-opt max-size=1k --log-opt max-file=2 busybox seq 1 999'),
      shell('docker logs $d | tail -1'),
      shell('test $(docker logs $d | wc -l) -lt 200 && echo few'),
    ],
  },
  {
    name: 'logs that are followed',
    proves: 'what comes later comes, until the end',
    steps: [
      ...running({
        Cmd: ['sh', '-c', 'trap "sleep 0.5; echo two; exit" USR1; echo one; while :; do sleep 0.02; done'],
      }),
      http('GET /containers/$c/logs?stdout=1&follow=1', {
        during: [docker('kill -s USR1 $c')],
      }),
    ],
  },
  {
    name: 'logs of a terminal',
    proves: 'are raw',
    versions: ['1.41', '1.44'],
    steps: [
      created({ ...SPEAKS, Tty: true }),
      start,
      wait,
      http('GET /containers/$c/logs?stdout=1&stderr=1'),
    ],
  },
  {
    name: 'logs of one without',
    proves: 'the driver none cannot be read',
    steps: [
      created({ ...SPEAKS, HostConfig: { LogConfig: { Type: 'none' } } }),
      start,
      wait,
      http('GET /containers/$c/logs?stdout=1'),
      docker('logs $c'),
    ],
  },
  {
    name: 'exec',
    proves: 'a command in a container has its streams, its exit code, its user, directory and environment',
    versions: ['1.41', '1.44'],
    differs: [
      { at: 'GET /exec/$exec/json body.Pid', why: 'of one that has ended there is no process' },
      { at: 'GET /exec/$exec/json body.OpenStderr', why: 'both outputs are always open' },
      {
        at: 'POST /exec/$exec/start *',
        why: 'one that has run is a conflict, 409, and not a line on a stream',
      },
    ],
    steps: [
      ...running(),
      http('POST /containers/$c/exec', {
        body: { AttachStdout: true, AttachStderr: true, Cmd: ['sh', '-c', 'echo out; echo err >&2; exit 4'] },
        keep: { exec: 'Id' },
      }),
      http('GET /exec/$exec/json'),
      http('POST /exec/$exec/start', { body: {}, upgrade: true }),
      http('GET /exec/$exec/json', { until: ['Running', false] }),
      http('POST /exec/$exec/start', { body: {} }),
      http('POST /containers/$c/exec', {
        body: {
          AttachStdout: true,
          User: 'daemon',
          WorkingDir: '/tmp',
          Env: ['A=b'],
          Privileged: true,
          Tty: true,
          Cmd: ['sh', '-c', 'id -u; pwd; echo $A'],
        },
        keep: { exec: 'Id' },
      }),
      http('POST /exec/$exec/start', { body: { Tty: true } }),
      http('GET /exec/$exec/json', { until: ['Running', false] }),
    ],
  },
  {
    name: 'exec that outlives its container',
    proves: 'ends with it, and its exit code can be asked for',
    steps: [
      ...running({ HostConfig: { AutoRemove: true } }),
      // Killed once the exec has said that it runs.
      shell(
        '{ docker exec $c sh -c "echo up; exec sleep 1000"; echo $?; } | { read up; docker kill $c >/dev/null; cat; }',
      ),
    ],
  },
  {
    name: 'exec with input',
    proves: 'input reaches the command, and its end',
    steps: [
      ...running(),
      docker('exec -i $c cat', { input: 'through\n' }),
      docker("exec $c sh -c 'exit 9'"),
      docker('exec -d $c true'),
      docker("exec -e A=1 -w /tmp -u daemon $c sh -c 'echo $A; pwd; id -un'"),
    ],
  },
  {
    name: 'exec of what cannot be run',
    proves: '126 and 127',
    steps: [
      ...running(),
      docker('exec $c nosuch'),
      docker('exec $c /etc/passwd'),
      docker('exec $c /etc'),
      docker('exec -w /nosuch $c true'),
      docker('exec -u nosuch $c true'),
    ],
    differs: [{ at: 'docker exec * *', why: 'there is no runc to name: the cause stands alone' }],
  },
  {
    name: 'exec detached',
    proves: 'is answered at once, and a size without a terminal is taken',
    differs: [{ at: 'POST /exec/$exec/resize?h=x&w=20 body.message', why: 'says what may be written' }],
    steps: [
      ...running(),
      http('POST /containers/$c/exec', { body: { Cmd: ['sleep', '1000'], Tty: true }, keep: { exec: 'Id' } }),
      http('POST /exec/$exec/start', { body: { Detach: true, Tty: true } }),
      http('GET /exec/$exec/json', { only: ['Running', 'ExitCode', 'ProcessConfig'] }),
      http('POST /exec/$exec/resize?h=10&w=20'),
      http('POST /exec/$exec/resize?h=x&w=20'),
      http('POST /exec/nobody/resize?h=10&w=20'),
      http('POST /exec/nobody/start', { body: {} }),
    ],
  },
  {
    name: 'the first size of a terminal',
    proves: 'is that of the create',
    versions: ['1.44'],
    steps: [
      created({ Tty: true, Cmd: ['stty', 'size'], HostConfig: { ConsoleSize: [33, 77] } }),
      http('GET /containers/$c/json', { only: ['HostConfig.ConsoleSize'] }),
      start,
      wait,
      http('GET /containers/$c/logs?stdout=1'),
    ],
  },
  {
    name: 'resize',
    proves: 'a terminal takes a size; what is no number is refused',
    differs: [{ at: 'POST /containers/$c/resize* body.message', why: 'says what may be written' }],
    steps: [
      ...running({ Tty: true }),
      http('POST /containers/$c/resize?h=10&w=20'),
      http('POST /containers/$c/resize?h=x&w=20'),
      http('POST /containers/$c/resize'),
      http('POST /containers/$c/stop?t=0'),
      http('POST /containers/$c/resize?h=10&w=20'),
    ],
  },
  {
    name: 'top',
    proves: 'processes are shown under the columns asked for',
    steps: [
      ...running(),
      http('GET /containers/$c/top', { only: ['Titles', 'Processes[0][7]'] }),
      http('GET /containers/$c/top?ps_args=-o pid,comm', { only: ['Titles', 'Processes[0][1]'] }),
      http('GET /containers/$c/top?ps_args=aux', { only: ['Titles', 'Processes[0][10]'] }),
      http('POST /containers/$c/stop?t=0'),
      http('GET /containers/$c/top'),
    ],
  },
  {
    name: 'stats',
    proves: 'the keys are those that clients compute from',
    differs: [
      { at: '* body.memory_stats.stats.*', why: 'every counter that the kernel keeps; dockerd chooses' },
      { at: '* body.cpu_stats.cpu_usage.percpu_usage*', why: 'is not kept by cgroup v2, so by none' },
      { at: '* header content-type', why: 'is JSON, and says so' },
    ],
    steps: [
      ...running(),
      http('GET /containers/$c/stats?stream=0&one-shot=1', { shape: true }),
      http('GET /containers/$c/stats?stream=1', { shape: true, lines: 1 }),
      docker("stats --no-stream --format '{{.Name}} {{.PIDs}}' $c"),
      http('POST /containers/$c/stop?t=0'),
      http('GET /containers/$c/stats?stream=0', { only: ['read', 'pids_stats', 'name'] }),
    ],
  },
  {
    name: 'a flood of output',
    proves: 'nothing is lost of it',
    steps: [shell("docker run --rm --name $c busybox sh -c 'yes | head -c 300000' | md5sum")],
  },
];
