import { type Case, docker, type Step } from '../case.js';

const one = (name: string, step: Step, more: Partial<Case> = {}): Case => ({
  name: `mistake: ${name}`,
  proves: 'the words and the exit code are those that people know',
  steps: [step],
  ...more,
});

/** What people get wrong most often, and what they are told. */
export const mistakes: readonly Case[] = [
  one('an unknown container', docker('inspect --type container nosuch')),
  one('logs of an unknown container', docker('logs nosuch')),
  one('exec in an unknown container', docker('exec nosuch true')),
  one('stop of an unknown container', docker('stop nosuch')),
  one('start of an unknown container', docker('start nosuch')),
  one('rm of an unknown container', docker('rm nosuch')),
  one('attach to an unknown container', docker('attach nosuch')),
  one('wait for an unknown container', docker('wait nosuch')),
  one('cp from an unknown container', docker('cp nosuch:/x .')),
  one('a bad reference', docker('run --rm BAD')),
  one('a name taken', docker('run -d --name $c busybox true && docker run --name $c busybox true')),
  one('a bad name', docker('run --name !bad busybox true')),
  one('a bad memory limit', docker('run --rm -m 1k busybox true')),
  one('more memory reserved than allowed', docker('run --rm -m 10m --memory-reservation 20m busybox true')),
  one('a restart policy with --rm', docker('run --rm --restart always busybox true')),
  one('a bad restart policy', docker('create --name $c --restart nonsense busybox')),
  one('a bad port', docker('run --rm -p nonsense busybox true')),
  one(
    'a port taken',
    docker(
      'run -d --name $c -p 127.0.0.1:18088:80 busybox sleep 100 && docker run --rm --name $d -p 127.0.0.1:18088:80 busybox true',
    ),
    {
      differs: [{ at: '*', why: 'the second goes to another node, where the port is free' }],
    },
  ),
  one('a bad mount', docker('run --rm -v relative:x busybox true')),
  one('a source that is not there', docker('run --rm --mount type=bind,src=/no/such,dst=/x busybox true')),
  one('a bad capability', docker('run --rm --cap-add NONSENSE busybox true')),
  one('an unknown network', docker('run --rm --network nosuch busybox true')),
  one('a bad user', docker('run --rm -u nosuch busybox true')),
  one('a bad environment', docker('run --rm -e =x busybox true')),
  one('a bad device', docker('run --rm --device /dev/nosuch busybox true')),
  one('a bad ulimit', docker('run --rm --ulimit nosuch=1 busybox true')),
  one('too many CPUs', docker('run --rm --cpus 1000 busybox true')),
  one('a bad log driver', docker('run --rm --log-driver nosuch busybox true'), {
    differs: [{ at: '* stderr', why: 'names the field, and what may be written' }],
  }),
  one('a bad runtime', docker('run --rm --runtime nosuch busybox true')),
  one(
    'a paused container stopped',
    docker('run -d --name $c busybox sleep 100 && docker pause $c && docker stop -t 0 $c'),
  ),
  one('a running container removed', docker('run -d --name $c busybox sleep 100 && docker rm $c')),
  one('a signal that is none', docker('run -d --name $c busybox sleep 100 && docker kill -s NOPE $c')),
  one('a container to join that is not there', docker('run --rm --network container:nosuch busybox true')),
  one('no command', docker('run --rm --entrypoint "" busybox')),
];
