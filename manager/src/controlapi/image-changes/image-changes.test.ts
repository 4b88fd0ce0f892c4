// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are variables of Dockerfiles.
import { expect, test } from 'vitest';
import { applyImageChanges } from './image-changes.js';

const changed = (...changes: string[]) => applyImageChanges({}, changes);

test('without changes the configuration is the same, and what no change concerns stays', () => {
  const config = { Env: ['A=1'], Custom: { of: 'its author' } };

  expect(applyImageChanges(config, [])).toBe(config);
  expect(applyImageChanges(config, ['USER app'])).toEqual({ ...config, User: 'app' });
});

test('every instruction that docker commit and docker import know has its effect', () => {
  const config = changed(
    'ENTRYPOINT ["/bin/app"]',
    'CMD ["serve", "--all"]',
    'ENV A=1 B="two words"',
    'ENV C three words',
    'expose 80 53/UDP 8000-8002',
    'HEALTHCHECK --interval=5s --timeout=1m30s --start-period=500ms --start-interval=2s --retries=3 CMD curl -f http://localhost/',
    'LABEL a.b=c "d e"="f g"',
    'ONBUILD RUN make',
    'STOPSIGNAL SIGQUIT',
    'USER app:app',
    'VOLUME /data /cache',
    'WORKDIR /srv',
    'WORKDIR app',
  );

  expect(config).toEqual({
    Entrypoint: ['/bin/app'],
    Cmd: ['serve', '--all'],
    Env: ['A=1', 'B=two words', 'C=three words'],
    ExposedPorts: { '80/tcp': {}, '53/udp': {}, '8000/tcp': {}, '8001/tcp': {}, '8002/tcp': {} },
    Healthcheck: {
      Test: ['CMD-SHELL', 'curl -f http://localhost/'],
      Interval: 5e9,
      Timeout: 90e9,
      StartPeriod: 5e8,
      StartInterval: 2e9,
      Retries: 3,
    },
    Labels: { 'a.b': 'c', 'd e': 'f g' },
    OnBuild: ['RUN make'],
    StopSignal: 'SIGQUIT',
    User: 'app:app',
    Volumes: { '/data': {}, '/cache': {} },
    WorkingDir: '/srv/app',
  });
});

test('the shell form is for the shell of the image', () => {
  expect(changed('CMD echo $HOME').Cmd).toEqual(['/bin/sh', '-c', 'echo $HOME']);
  expect(applyImageChanges({ Shell: ['/bin/ash', '-ec'] }, ['ENTRYPOINT run it']).Entrypoint).toEqual([
    '/bin/ash',
    '-ec',
    'run it',
  ]);
  expect(changed('HEALTHCHECK CMD ["true"]').Healthcheck).toEqual({ Test: ['CMD', 'true'] });
  expect(changed('HEALTHCHECK NONE').Healthcheck).toEqual({ Test: ['NONE'] });
});

test('a new entrypoint takes the old command away, but not one that was given before it', () => {
  const config = { Cmd: ['old'], Entrypoint: ['old'] };

  expect(applyImageChanges(config, ['ENTRYPOINT ["new"]'])).toEqual({ Entrypoint: ['new'], Cmd: null });
  expect(applyImageChanges(config, ['CMD ["mine"]', 'ENTRYPOINT ["new"]'])).toEqual({
    Entrypoint: ['new'],
    Cmd: ['mine'],
  });
});

test('a variable that is set again keeps its place', () => {
  expect(applyImageChanges({ Env: ['A=1', 'B=2'] }, ['ENV A=3 C=4']).Env).toEqual(['A=3', 'B=2', 'C=4']);
});

test.each([
  ['$A', 'one'],
  ['${A}x', 'onex'],
  ['${NONE:-fallback}', 'fallback'],
  ['${EMPTY-kept}', ''],
  ['${EMPTY:-replaced}', 'replaced'],
  ['${A:+other}', 'other'],
  ['${NONE+other}', ''],
  ['${A:?missing}', 'one'],
  ['\\$A', '$A'],
  ["'$A'", '$A'],
  ['"$A \\"q\\" \\n"', 'one "q" \\n'],
  ['${NONE:-${A}}', 'one'],
  ['a$', 'a$'],
])('%s stands for %s', (text, value) => {
  const config = { Env: ['A=one', 'EMPTY='] };

  expect(applyImageChanges(config, [`LABEL k=${text}`]).Labels).toEqual({ k: value });
});

test('what a variable holds is split where ports are listed', () => {
  const { ExposedPorts } = applyImageChanges({ Env: ['PORTS=80 81/udp'] }, ['EXPOSE $PORTS']);

  expect(ExposedPorts).toEqual({ '80/tcp': {}, '81/udp': {} });
});

test('comments and lines that go on are read as in a Dockerfile', () => {
  expect(changed('# nothing', 'ENV A=1 \\', '# between', '  B=2')).toEqual({ Env: ['A=1', 'B=2'] });
});

test.each([
  [['RUN make'], 'RUN is not a valid change command'],
  [['shell ["/bin/sh"]'], 'shell is not a valid change command'],
  [['USER a', 'BOGUS x'], 'BOGUS is not a valid change command'],
  [['__proto__ x'], '__proto__ is not a valid change command'],
  [['# only'], 'file with no instructions'],
  [['ENV A'], 'ENV must have two arguments'],
  [['ENV A=1 B'], 'Syntax error - can\'t find = in "B". Must be of the form: name=value'],
  [['ENV =1'], 'ENV names can not be blank'],
  [['LABEL'], 'LABEL requires at least one argument'],
  [['USER'], 'USER requires exactly one argument'],
  [['WORKDIR'], 'WORKDIR requires exactly one argument'],
  [['EXPOSE'], 'EXPOSE requires at least one argument'],
  [['EXPOSE http'], 'invalid containerPort: http'],
  [['EXPOSE 70000'], 'invalid containerPort: 70000'],
  [['EXPOSE 80/icmp'], 'invalid proto: icmp'],
  [['CMD ["a", 1]'], 'when using JSON array syntax, arrays must be comprised of strings only'],
  [['STOPSIGNAL SIGNONE'], 'Invalid signal: SIGNONE'],
  [['VOLUME [""]'], 'VOLUME specified can not be an empty string'],
  [['ONBUILD ONBUILD RUN x'], "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"],
  [['ONBUILD from x'], "FROM isn't allowed as an ONBUILD trigger"],
  [['USER --x=1 a'], 'unknown flag: --x'],
  [['HEALTHCHECK --every=1s CMD true'], 'unknown flag: --every'],
  [['HEALTHCHECK --interval CMD true'], 'Missing a value on flag: interval'],
  [['HEALTHCHECK --retries=1 --retries=2 CMD true'], 'Duplicate flag specified: retries'],
  [['HEALTHCHECK --interval=1us CMD true'], 'Interval "interval" cannot be less than 1ms'],
  [['HEALTHCHECK --interval=soon CMD true'], 'time: invalid duration "soon"'],
  [['HEALTHCHECK --retries=-1 CMD true'], '--retries cannot be negative (-1)'],
  [['HEALTHCHECK CMD'], 'Missing command after HEALTHCHECK CMD'],
  [['HEALTHCHECK RUN x'], 'Unknown type "RUN" in HEALTHCHECK (try CMD)'],
  [['HEALTHCHECK NONE x'], 'HEALTHCHECK NONE takes no arguments'],
  [['LABEL a=${B'], 'failed to process "${B": unsupported modifier () in substitution'],
  [['LABEL a=${}'], 'failed to process "${}": syntax error: bad substitution'],
  [['LABEL a=${B:?not'], 'failed to process "${B:?not": syntax error: missing \'}\''],
  [['USER ${B?not here}'], 'failed to process "${B?not here}": B: not here'],
])('%j is refused: %s', (changes, message) => {
  expect(() => changed(...changes)).toThrow(message);
});

test('a hostile text costs no more than its length', () => {
  const long = 'a'.repeat(200_000);

  expect(changed(`LABEL k="${'\\'.repeat(200_000)}" ${long}=1`, `USER ${long}`).User).toBe(long);
  expect(() => changed(`LABEL k=${'${a:-'.repeat(2_000)}`)).toThrow('failed to process');
});
