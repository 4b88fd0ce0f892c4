import { type Case, created, docker, filters, http, shell } from '../case.js';

/** Images, and their registry. */
export const images: readonly Case[] = [
  {
    name: 'image inspect',
    proves: 'every key, with what the image was made with',
    differs: [
      {
        at: '* body.RepoDigests*',
        why: 'the digest that pins the image here, also where no registry has it',
      },
      { at: '* body.GraphDriver.*', why: "images are the cluster's: no path of a host is given away" },
    ],
    steps: [
      http('GET /images/rich:1/json'),
      docker("image inspect -f '{{.RepoTags}} {{.Os}} {{len .RootFS.Layers}}' rich:1"),
      docker('image inspect nosuch'),
    ],
  },
  {
    name: 'image history',
    proves: 'the steps that made it, the last first',
    steps: [
      http('GET /images/rich:1/history', { only: ['[*].CreatedBy', '[*].Comment', '[*].Tags'] }),
      docker("history --format '{{.CreatedBy}}' rich:1"),
    ],
  },
  {
    name: 'image list',
    proves: 'what there is, by reference, label, and time',
    differs: [
      {
        at: '* body[0].RepoDigests*',
        why: 'the digest that pins the image here, also where no registry has it',
      },
      { at: '* body[0].Containers', why: 'is counted, as in newer engines' },
    ],
    steps: [
      http(`GET /images/json?${filters({ reference: ['rich'] })}`),
      http(`GET /images/json?${filters({ reference: ['rich:1'] })}`, { only: ['[*].RepoTags'] }),
      http(`GET /images/json?${filters({ reference: ['ri*'] })}`, { only: ['[*].RepoTags'] }),
      http(`GET /images/json?${filters({ reference: ['rich:2'] })}`, { only: ['[*].RepoTags'] }),
      http(`GET /images/json?${filters({ label: ['from.image=yes'], reference: ['rich'] })}`, {
        only: ['[*].RepoTags'],
      }),
      http(`GET /images/json?${filters({ label: ['from.image=no'] })}`),
      http(`GET /images/json?${filters({ dangling: ['true'], reference: ['rich'] })}`),
      http(`GET /images/json?${filters({ dangling: ['x'] })}`),
      http(`GET /images/json?${filters({ before: ['nosuch'] })}`),
      http(`GET /images/json?${filters({ since: ['nosuch'] })}`),
      docker("images --format '{{.Repository}}:{{.Tag}}' rich"),
      docker('images nosuch'),
    ],
  },
  {
    name: 'image tag and remove',
    proves: 'a name is given and taken away, and what a container uses is kept',
    differs: [
      { at: 'POST /images/busybox/tag* body.message', why: 'says what may be written' },
      { at: 'POST /images/busybox/tag status', why: 'a fault of the request is 400' },
    ],
    steps: [
      docker('tag busybox tagged-$c:1'),
      docker("images --format '{{.Repository}}:{{.Tag}}' tagged-$c"),
      docker('tag busybox UPPER:1'),
      docker('tag nosuch tagged-$c:2'),
      http('POST /images/busybox/tag?repo=tagged-$c&tag=two'),
      http('POST /images/busybox/tag?repo=tagged-$c&tag=!'),
      http('POST /images/busybox/tag'),
      created({ Image: 'tagged-$c:1' }),
      docker('rmi tagged-$c:two'),
      docker('rmi tagged-$c:1'),
      docker('rmi tagged-$c:1'),
      docker('rmi nosuch'),
    ],
  },
  {
    name: 'image of a container in use',
    proves: 'its last name is kept while a container has it',
    steps: [
      shell('echo x > f && tar c f | docker import - imported-$c:1 | cut -c1-7'),
      http('POST /containers/create?name=$c', { body: { Image: 'imported-$c:1', Cmd: ['x'] } }),
      docker('rmi imported-$c:1'),
      http('DELETE /containers/$c'),
      shell('docker rmi imported-$c:1 | head -1'),
    ],
  },
  {
    name: 'save and load',
    proves: 'an archive gives the same image again',
    differs: [{ at: '*docker load stderr', why: 'says what is wrong with the archive' }],
    steps: [
      docker('tag busybox saved-$c:1'),
      shell('docker save saved-$c:1 > saved.tar && docker rmi saved-$c:1'),
      docker('load -i saved.tar'),
      docker("images --format '{{.Repository}}:{{.Tag}}' saved-$c"),
      docker('rmi saved-$c:1'),
      docker('save nosuch > nosuch.tar'),
      shell('echo nonsense | docker load'),
      shell('head -c 2000 saved.tar | docker load'),
      http('GET /images/nosuch/get'),
    ],
  },
  {
    name: 'save of several',
    proves: 'a name without a tag is all its tags, and an archive holds what was named',
    steps: [
      docker('tag busybox all-$c:1'),
      docker('tag rich:1 all-$c:2'),
      shell("docker save all-$c | tar xO manifest.json | grep -o 'all-[^\"]*' | sort"),
      shell(`docker save busybox:latest all-$c:2 | tar xO manifest.json | grep -o '"RepoTags":[^]]*' | sort`),
      docker('save all-$c:3 > none.tar'),
      docker('rmi all-$c:1 all-$c:2'),
    ],
  },
  {
    name: 'import',
    proves: 'an archive of files becomes an image, with the instructions given',
    steps: [
      shell(
        "echo x > f && tar c f | docker import -m why -c 'ENV A=b' -c 'CMD [\"x\"]' - imported-$c:1 | cut -c1-7",
      ),
      http('GET /images/imported-$c:1/json', {
        only: ['Config.Cmd', 'Config.Env', 'Comment', 'RepoTags', 'RootFS.Type'],
      }),
      shell("tar c f | docker import -c 'NONSENSE x' - imported-$c:2"),
      shell('tar c f | docker import - UPPER'),
      docker('import nosuch.tar'),
      shell('docker rmi imported-$c:1 | head -1'),
    ],
  },
  {
    name: 'push and pull',
    proves: 'an image goes to a registry and comes back by name and by digest',
    differs: [
      { at: 'GET /distribution/* body.Descriptor.mediaType', why: "images are pushed in the OCI's format" },
    ],
    steps: [
      docker('tag rich:1 $registry/$c:1'),
      docker('push -q $registry/$c:1'),
      shell('docker push $registry/$c:1 | grep -c "Layer already exists"'),
      docker('rmi $registry/$c:1'),
      shell(
        'docker pull $registry/$c:1 | grep -v -E "Already exists|Pull complete|Pulling fs|Verifying|Download complete|Waiting|Extracting"',
      ),
      docker('pull -q $registry/$c:1'),
      shell('docker pull $registry/$c:1 | tail -2'),
      docker('pull $registry/$c:2'),
      docker('pull $registry/nosuch'),
      docker('push $registry/$c:2'),
      docker('push nosuch'),
      http('GET /distribution/$registry/$c:1/json', {
        only: ['Descriptor.mediaType', 'Descriptor.digest', 'Platforms'],
      }),
      docker('rmi $registry/$c:1'),
    ],
  },
  {
    name: 'create for a platform',
    proves: 'an image of another one is as good as none',
    steps: [
      http('POST /containers/create?name=$c&platform=linux/s390x', { body: { Image: 'busybox' } }),
      http('POST /containers/create?name=$c&platform=s390x', { body: { Image: 'busybox' } }),
      http('POST /containers/create?name=$c&platform=nonsense', { body: { Image: 'busybox' } }),
      http('POST /containers/create?name=$c&platform=a/b/c/d', { body: { Image: 'busybox' } }),
      http('POST /containers/create?name=$c&platform=linux', {
        body: { Image: 'busybox' },
        only: ['Warnings'],
      }),
    ],
  },
  {
    name: 'pull of all tags',
    proves: 'each is pulled and named',
    steps: [
      docker('tag busybox $registry/$c:1'),
      docker('tag busybox $registry/$c:2'),
      docker('push -aq $registry/$c'),
      docker('rmi $registry/$c:1 $registry/$c:2 | wc -l'),
      shell(
        'docker pull -a $registry/$c | grep -v -E "Already exists|Pull complete|Pulling fs|Verifying|Download complete|Waiting|Extracting"',
      ),
      docker("images --format '{{.Repository}}:{{.Tag}}' $registry/$c", { sorted: true }),
      docker('pull -a $registry/none-$c'),
      docker('pull -a $registry/$c:1'),
      docker('rmi $registry/$c:1 $registry/$c:2 | wc -l'),
    ],
  },
  {
    name: 'pull of what is no name',
    proves: 'a bad reference is refused before anything is asked',
    differs: [
      { at: 'POST /images/create* body.message', why: 'says what may be written' },
      { at: 'POST /images/create status', why: 'a fault of the request is 400' },
    ],
    steps: [
      docker('pull UPPER'),
      docker('pull a:b:c'),
      docker("pull ''"),
      http('POST /images/create?fromImage=UPPER&tag=1'),
      http('POST /images/create'),
      docker('run --pull never nosuch'),
      http('POST /images/create?fromSrc=-&repo=UPPER'),
    ],
  },
  {
    name: 'login',
    proves: 'an address where nobody is is told',
    differs: [
      { at: 'POST /auth status', why: 'a fault of the request is 400' },
      { at: 'POST /auth body.message', why: 'says where the JSON breaks off' },
    ],
    steps: [
      http('POST /auth', {
        body: { username: 'a', password: 'b', serveraddress: 'http://127.0.0.1:1' },
        only: [],
      }),
      http('POST /auth', { body: '{' }),
    ],
  },
  {
    name: 'image prune',
    proves: 'what nobody uses goes, and a label chooses',
    alone: true,
    differs: [{ at: 'POST /images/prune* body.message', why: 'says what may be written' }],
    steps: [
      http(`POST /images/prune?${filters({ dangling: ['true'], label: ['none=$c'] })}`),
      http(`POST /images/prune?${filters({ nosuch: ['x'] })}`),
      docker('image prune -f --filter label=none=$c'),
    ],
  },
];
