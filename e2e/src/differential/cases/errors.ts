import { type Case, created, docker, http, running } from '../case.js';

/** What is wrong, and how it is told. */
export const errors: readonly Case[] = [
  {
    name: 'versions that are not spoken',
    proves: 'too new and too old are told apart, with the bounds',
    differs: [
      { at: 'GET /v1.99/* body.message', why: 'names the newest version that the engine speaks' },
      { at: 'GET /_ping header swarm', why: 'a manager of a cluster, which speaks for all of it' },
      { at: 'GET /_ping header builder-version', why: 'nothing is built yet: the client is told not to try' },
    ],
    steps: [
      http('GET /v1.99/_ping', { bare: true }),
      http('GET /v1.99/containers/json', { bare: true }),
      http('GET /v1.11/containers/json', { bare: true }),
      http('GET /v1.x/containers/json', { bare: true }),
      http('GET /_ping', { bare: true }),
    ],
  },
  {
    name: 'pages that are none',
    proves: 'a path or method that nobody serves is 404 "page not found"',
    steps: [
      http('GET /nowhere'),
      http('PATCH /containers/json'),
      http('POST /containers/json'),
      http('GET /containers/create'),
      http('GET /', { bare: true }),
      http('DELETE /version'),
    ],
  },
  {
    name: 'bodies that are none',
    proves: 'bad JSON, none at all, and the wrong type are refused',
    differs: [
      {
        at: 'POST /containers/create?name=$c body.message',
        why: 'says which field is wrong, and not by types of Go',
      },
    ],
    steps: [
      http('POST /containers/create?name=$c', { body: '{"Image":' }),
      http('POST /containers/create?name=$c'),
      http('POST /containers/create?name=$c', { body: {} }),
      http('POST /containers/create?name=$c', { body: '[]' }),
      http('POST /containers/create?name=$c', { body: '{"Image":7}' }),
      http('POST /containers/create?name=$c', {
        body: 'Image=busybox',
        headers: { 'content-type': 'text/plain' },
      }),
      http('POST /containers/create?name=$c', { body: { Image: 'busybox', Cmd: 7 } }),
    ],
  },
  {
    name: 'containers that are not there',
    proves: 'every call on a name that nobody has is 404 "No such container"',
    differs: [
      {
        at: 'POST /containers/nobody/attach?stream=1&stdout=1 *',
        why: 'an error is JSON as everywhere, and not a line on a stream',
      },
    ],
    steps: [
      http('GET /containers/nobody/json'),
      http('POST /containers/nobody/start'),
      http('POST /containers/nobody/stop'),
      http('POST /containers/nobody/restart'),
      http('POST /containers/nobody/kill'),
      http('POST /containers/nobody/pause'),
      http('POST /containers/nobody/unpause'),
      http('POST /containers/nobody/wait'),
      http('POST /containers/nobody/rename?name=x'),
      http('POST /containers/nobody/update', { body: {} }),
      http('POST /containers/nobody/resize?h=1&w=1'),
      http('POST /containers/nobody/exec', { body: { Cmd: ['true'] } }),
      http('POST /containers/nobody/attach?stream=1&stdout=1'),
      http('GET /containers/nobody/logs?stdout=1'),
      http('GET /containers/nobody/top'),
      http('GET /containers/nobody/stats?stream=0'),
      http('GET /containers/nobody/changes'),
      http('DELETE /containers/nobody'),
    ],
  },
  {
    name: 'files of containers that are not there',
    proves: 'the same for calls on files',
    steps: [
      http('GET /containers/nobody/export'),
      http('GET /containers/nobody/archive?path=/'),
      http('HEAD /containers/nobody/archive?path=/'),
      http('PUT /containers/nobody/archive?path=/', { body: Buffer.alloc(1024) }),
    ],
  },
  {
    name: 'images that are not there',
    proves: 'a missing image is exactly 404 "No such image"',
    steps: [
      created({ Image: 'nobody' }),
      created({ Image: 'nobody:9' }),
      http('GET /images/nobody/json'),
      http('GET /images/nobody/history'),
      http('DELETE /images/nobody'),
      http('POST /images/nobody/tag?repo=x&tag=y'),
    ],
  },
  {
    name: 'names taken and names that are none',
    proves: 'a taken name is 409 with who has it; a bad one 400 with the rule',
    steps: [created(), created(), created({}, '!bad'), created({}, 'x'), docker('create --name $c busybox')],
  },
  {
    name: 'commands that cannot be run',
    proves: 'the exit code is 125, 126 or 127 by the reason',
    differs: [
      {
        at: 'docker run * stderr',
        why: 'there is no shim of containerd and no runc to name: the cause stands alone',
      },
    ],
    steps: [
      docker('run --rm busybox nosuch'),
      docker('run --rm busybox /etc/passwd'),
      docker('run --rm busybox /etc'),
      docker('run --rm --nosuch busybox true'),
      docker('run --rm -w relative busybox true'),
      docker('run --rm -u nobody-knows busybox true'),
    ],
  },
  {
    name: 'filters that are none',
    proves: 'malformed filters and unknown keys are refused',
    differs: [
      { at: 'GET * body.message', why: 'says what may be written' },
      { at: 'GET /containers/json?limit=x status', why: 'a fault of the request is 400' },
    ],
    steps: [
      http('GET /containers/json?filters=nonsense'),
      http('GET /containers/json?filters={"nosuch":["x"]}'),
      http('GET /containers/json?filters={"status":["nosuch"]}'),
      http('GET /containers/json?filters={"exited":["x"]}'),
      http('GET /containers/json?limit=x'),
      http('GET /images/json?filters={"nosuch":["x"]}'),
      http('GET /events?filters=nonsense'),
    ],
  },
  {
    name: 'exec in one that does not run',
    proves: 'is a conflict',
    steps: [created(), http('POST /containers/$c/exec', { body: { Cmd: ['true'] } }), docker('exec $c true')],
  },
  {
    name: 'exec without a command',
    proves: 'is refused',
    steps: [...running(), http('POST /containers/$c/exec', { body: {} }), http('GET /exec/nobody/json')],
  },
];
