import { type Case, created, docker, http, running, shell } from '../case.js';

const AWAITS_CP = 'docker cp and export';

/** What is in a container's file system, and how it comes out of it. */
export const files: readonly Case[] = [
  {
    name: 'changes',
    proves: 'what was added, changed and deleted is told by kind',
    awaits: 'docker diff',
    steps: [
      ...running(),
      docker("exec $c sh -c 'echo x > /new; echo x >> /etc/passwd; rm /www/index.html; mkdir /tmp/dir'"),
      http('GET /containers/$c/changes'),
      docker('diff $c', { sorted: true }),
      http('POST /containers/$c/stop?t=0'),
      http('GET /containers/$c/changes'),
    ],
  },
  {
    name: 'copy out',
    proves: 'files and directories come as they are, also of one that does not run',
    awaits: AWAITS_CP,
    steps: [
      created(),
      shell('docker cp $c:/etc/passwd . && cat passwd'),
      shell('docker cp $c:/www - | tar t', { sorted: true }),
      shell('docker cp -q $c:/etc/group here && cat here'),
      shell('docker cp $c:/nosuch .'),
      http('HEAD /containers/$c/archive?path=/etc/passwd'),
      http('HEAD /containers/$c/archive?path=/nosuch'),
      http('GET /containers/$c/archive?path=/etc/passwd'),
      http('GET /containers/$c/archive?path=/nosuch'),
      http('GET /containers/$c/archive'),
    ],
  },
  {
    name: 'copy in',
    proves: 'files are put where they were said to go, and refused where they cannot',
    awaits: AWAITS_CP,
    steps: [
      ...running(),
      shell('echo hello > f; mkdir d; echo x > d/y; docker cp f $c:/tmp/f && docker exec $c cat /tmp/f'),
      shell('docker cp d $c:/tmp/ && docker exec $c cat /tmp/d/y'),
      shell('docker cp f $c:/nosuch/f'),
      shell('docker cp f $c:/etc/passwd/f'),
      shell('docker cp nosuch $c:/tmp'),
      shell('tar c f | docker cp - $c:/tmp && docker exec $c cat /tmp/f'),
      http('PUT /containers/$c/archive?path=/nosuch', { body: Buffer.alloc(1024) }),
      http('PUT /containers/$c/archive?path=/tmp', { body: Buffer.alloc(1024) }),
      http('PUT /containers/$c/archive', { body: Buffer.alloc(1024) }),
    ],
  },
  {
    name: 'copy into what is read-only',
    proves: 'is refused',
    steps: [created({ HostConfig: { ReadonlyRootfs: true } }), shell('echo x > f; docker cp f $c:/f')],
  },
  {
    name: 'export',
    proves: 'the whole file system comes as one archive',
    steps: [
      created(),
      shell('docker export $c | tar t | grep -E "^(etc/passwd|www/|bin/busybox)$"', { sorted: true }),
    ],
  },
  {
    name: 'commit',
    proves: 'a container becomes an image, with its changes and the instructions given',
    awaits: 'docker commit',
    steps: [
      ...running(),
      docker("exec $c sh -c 'echo kept > /kept'"),
      shell(
        'docker commit -a me -m why -c \'CMD ["cat", "/kept"]\' -c \'ENV A=b\' $c committed-$c | cut -c1-7',
      ),
      docker('run --rm --name $d committed-$c'),
      http('GET /images/committed-$c/json', {
        only: ['Config.Cmd', 'Config.Env', 'Author', 'Comment', 'RepoTags'],
      }),
      http('POST /commit?container=nobody'),
      http('POST /commit?container=$c&repo=committed-$c&changes=NONSENSE x'),
      http('POST /commit?container=$c&repo=UPPER'),
      http('DELETE /images/committed-$c?force=1', { only: ['[0].Untagged'] }),
    ],
  },
];
