import { silentLogger } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import {
  Container,
  ContainerPlacement,
  type ContainerRestartPolicy_Name,
  type ContainerState,
  type ContainerTarget_Verb,
} from '@tessera/shared/model';
import { FakeClock, SeededRandom, settle } from '@tessera/shared/testing';
import type { ContainerAssignment } from '@tessera/shared/wire';
import { describe, expect, test } from 'vitest';
import { StartError } from '../executor/executor.js';
import type { ContainerStorage, StoredContainer } from '../storage/index.js';
import { Containers } from './containers.js';
import { FakeRuntime } from './testing/fake-runtime.js';

/** What one agent writes to the disk. */
class MemoryStorage implements ContainerStorage {
  syncs = 0;

  /** @param writesLeft how many succeed; after them the agent is as dead as by kill -9, and writes no more */
  constructor(
    readonly stored = new Map<string, StoredContainer>(),
    public writesLeft = Number.POSITIVE_INFINITY,
  ) {}

  all = () => this.stored;
  put = (id: string, stored: StoredContainer) => {
    this.#write();
    this.stored.set(id, stored);
  };
  delete = (id: string) => {
    this.#write();
    this.stored.delete(id);
  };
  sync = () => void this.syncs++;

  #write(): void {
    if (this.writesLeft-- <= 0) throw new Died();
  }
}

class Died extends Error {}

function setUp() {
  const clock = new FakeClock();
  const runtime = new FakeRuntime(clock);
  const storage = new MemoryStorage();
  const reported: ContainerState[] = [];
  const forgotten: string[] = [];
  const newAgent = (disk = storage) =>
    new Containers({
      runtime,
      storage: disk,
      clock,
      logger: silentLogger,
      reporter: {
        reportContainer: (state) => reported.push(state),
        forgetContainer: (id) => forgotten.push(id),
      },
    });
  return { clock, runtime, storage, reported, forgotten, newAgent, last: () => reported.at(-1) };
}

interface Asked {
  readonly epoch?: number;
  readonly former?: Partial<ContainerState>;
  readonly reschedule?: boolean;
  readonly verb?: ContainerTarget_Verb;
  readonly generation?: number;
  readonly restart?: ContainerRestartPolicy_Name;
  readonly maxRetries?: number;
  readonly autoRemove?: boolean;
  readonly removing?: boolean;
  readonly stopTimeoutMs?: number;
}

function assigned(asked: Asked = {}): Map<string, ContainerAssignment> {
  const { verb = 'create', generation = 1, restart = 'no', maxRetries = 0, stopTimeoutMs = -1 } = asked;
  const container = Container.fromPartial({
    id: 'c1',
    name: 'web',
    spec: { image: 'busybox' },
    host: { restart: { name: restart, maxRetries }, autoRemove: asked.autoRemove ?? false },
    target: { verb, generation, stopTimeoutMs },
    removing: asked.removing ?? false,
    rescheduleOnNodeFailure: asked.reschedule ?? false,
  } as never);
  const { epoch = 1, former } = asked;
  const placement = ContainerPlacement.fromPartial({
    containerId: 'c1',
    nodeId: 'node-1',
    epoch,
    ...(former && { former: former as ContainerState }),
  });
  return new Map([['c1', { container, placement, volumes: [] }]]);
}

/** A container that has been created (generation 1) and started (generation 2). */
async function started(asked: Asked = {}) {
  const rig = setUp();
  const agent = rig.newAgent();
  agent.apply(assigned({ ...asked, verb: 'create', generation: 1 }));
  await settle();
  agent.apply(assigned({ ...asked, verb: 'start', generation: 2 }));
  await settle();
  rig.clock.advance(50);
  return { ...rig, agent, container: rig.runtime.container('c1') };
}

describe('events', () => {
  const told = (states: readonly ContainerState[]) =>
    states.at(-1)!.events.map(({ action, attributes }) => [action, attributes.signal ?? attributes.exitCode]);

  test('what happens is told in the states that follow, numbered, until a manager has stored them', async () => {
    const { agent, reported, clock } = await started();
    agent.get('c1').note('top');
    agent.get('c1').note('resize', { height: '1', width: '2' });
    clock.advance(100);
    const [top, resize] = reported.at(-1)!.events;
    expect([top, resize]).toMatchObject([{ action: 'top' }, { action: 'resize' }]);
    expect(resize!.number).toBeGreaterThan(top!.number);
    expect(resize!.number).toBe(reported.at(-1)!.sequence);

    agent.acknowledged([reported.at(-1)!]);
    agent.get('c1').note('attach');
    clock.advance(100);

    expect(reported.at(-1)!.events.map(({ action }) => action)).toEqual(['attach']);
  });

  test('what nobody waits for is written down at once, and told of together', async () => {
    const { agent, reported, clock, storage } = await started();
    const before = reported.length;
    agent.get('c1').note('top');
    clock.advance(60);
    agent.get('c1').note('resize');

    expect(storage.stored.get('c1')!.state.events).toHaveLength(2);
    expect(reported).toHaveLength(before);
    clock.advance(40);
    expect(reported).toHaveLength(before + 1);
    expect(reported.at(-1)!.events.map(({ action }) => action)).toEqual(['top', 'resize']);
  });

  test('a container that has gone has nothing more to tell of', async () => {
    const { agent, reported, clock } = await started();
    agent.get('c1').note('top');
    agent.apply(new Map());
    await settle();
    const before = reported.length;

    clock.advance(1_000);

    expect(reported).toHaveLength(before);
  });

  test('a stop tells of its signal, and of the one that followed when its time was up', async () => {
    const { agent, reported, runtime, container } = await started();
    runtime.behaviour = { stopCode: 137 };
    agent.apply(assigned({ verb: 'stop', generation: 3 }));
    await settle();

    expect(container.calls).toContain('stop  -1');
    expect(told(reported)).toEqual([
      ['kill', '15'],
      ['kill', '9'],
    ]);
  });

  test('a removal by force tells of the kill and of the end before it is gone', async () => {
    const { agent, reported } = await started();

    agent.apply(assigned({ verb: 'start', generation: 2, removing: true }));
    await settle();

    expect(told(reported)).toEqual([['kill', '9']]);
    expect(reported.at(-1)).toMatchObject({ state: 'removed', exits: 1, exitCode: 137 });
  });

  test('an exec ends as such, also one that an earlier agent had started', async () => {
    const { agent, reported, newAgent, container, clock } = await started();
    const exec = await container.createExec({ args: ['true'] } as never);
    await exec.start(undefined);
    await agent.close();
    const next = newAgent();
    next.recover();

    (exec as unknown as { exit(code: number): void }).exit(3);
    await settle();
    clock.advance(100);

    expect(told(reported)).toEqual([['exec_die', '3']]);
    await next.close();
  });

  test('when no manager takes them the oldest are forgotten', async () => {
    const { agent, reported, clock } = await started();

    for (let round = 0; round < 300; round++) agent.get('c1').note('top', { round: String(round) });
    clock.advance(100);

    const { events } = reported.at(-1)!;
    expect([events.length, events[0]?.attributes.round, events.at(-1)?.attributes.round]).toEqual([
      256,
      '44',
      '299',
    ]);
  });
});

describe('a container that moves', () => {
  const ranThere: Partial<ContainerState> = {
    containerId: 'c1',
    nodeId: 'node-9',
    state: 'running',
    generation: 2,
    starts: 1,
    exits: 0,
    pid: 77,
    sequence: 5,
    epoch: 1,
  };
  const start = { verb: 'start', generation: 2, reschedule: true } as const;

  test('what ran on its lost node has ended with it, and runs again here; nothing is answered twice', async () => {
    const { newAgent, reported, runtime } = setUp();

    newAgent().apply(assigned({ ...start, epoch: 2, former: ranThere }));
    await settle();

    expect(runtime.container('c1').calls).toEqual(['create', 'start']);
    expect(reported.at(-1)).toMatchObject({
      state: 'running',
      nodeId: 'node-1',
      epoch: 2,
      generation: 2,
      starts: 2,
      exits: 1,
      error: '',
    });
    expect(reported.every(({ generation, sequence }) => generation === 2 && sequence > 5)).toBe(true);
  });

  test('one that was stopped is made here and stays stopped, with its exit code', async () => {
    const { newAgent, runtime, storage, last } = setUp();
    const former = { ...ranThere, state: 'exited', exits: 1, exitCode: 3 } as const;

    newAgent().apply(assigned({ ...start, epoch: 2, former }));
    await settle();

    expect(runtime.container('c1').calls).toEqual(['create']);
    expect(storage.stored.get('c1')?.state).toMatchObject({ state: 'exited', exitCode: 3, starts: 1 });
    expect(last()).toMatchObject({ state: 'exited', epoch: 2, nodeId: 'node-1' });
  });

  test('its labels are those of the node that it is on, told from its creation on', async () => {
    const { newAgent, runtime, last } = setUp();
    const [there, here] = ['u:r:t:s0:c1,c2', 'u:r:t:s0:c3,c4'];
    runtime.container('c1').labels = { process: here, mount: here };
    const former = {
      ...ranThere,
      state: 'exited',
      exits: 1,
      processLabel: there,
      mountLabel: there,
    } as const;

    newAgent().apply(assigned({ ...start, epoch: 2, former }));
    await settle();

    expect(last()).toMatchObject({ state: 'exited', processLabel: here, mountLabel: here });
  });

  test('one that cannot be made yet says why, and is tried until it can', async () => {
    const { newAgent, runtime, reported, clock } = setUp();
    runtime.behaviour = {
      create: async () => {
        throw new ClusterError('notFound', 'no node has the image');
      },
    };
    newAgent().apply(assigned({ ...start, epoch: 2, former: ranThere }));
    await settle();
    expect(reported.at(-1)).toMatchObject({ state: 'restarting', error: 'no node has the image' });

    runtime.behaviour = {};
    await clock.advanceAsync(20_000);

    expect(reported.at(-1)).toMatchObject({ state: 'running', error: '' });
  });

  test('the copy of a former life is removed before its container is made anew', async () => {
    const { agent, container, last } = await started({ reschedule: true });
    const former = { ...ranThere, starts: 2, exits: 1 };

    agent.apply(assigned({ ...start, epoch: 3, former }));
    await settle();

    const { calls } = container;
    expect(calls.slice(calls.indexOf('remove'))).toEqual(['remove', 'create', 'start']);
    expect(last()).toMatchObject({ state: 'running', epoch: 3, starts: 3, exits: 2 });
  });

  test('after a boot nothing starts that may run elsewhere, until a manager has said that it does not', async () => {
    const rig = await started({ reschedule: true, restart: 'always' });
    const starts = () => rig.container.calls.filter((call) => call === 'start').length;
    await rig.agent.close();
    rig.runtime.reboot();
    const next = rig.newAgent();
    next.recover();
    await rig.clock.advanceAsync(60_000);
    expect(starts()).toBe(1);

    next.apply(assigned({ ...start, restart: 'always' }));
    await rig.clock.advanceAsync(1_000);

    expect(starts()).toBe(2);
  });

  test('the returning node removes its old copy, which was never started again', async () => {
    const rig = await started({ reschedule: true, restart: 'always' });
    await rig.agent.close();
    rig.runtime.reboot();
    const next = rig.newAgent();
    next.recover();
    await rig.clock.advanceAsync(1_000);

    next.apply(new Map());
    await rig.clock.advanceAsync(1_000);

    expect(rig.container.calls.slice(-1)).toEqual(['remove']);
    expect(rig.container.calls.filter((call) => call === 'start')).toHaveLength(1);
    expect(rig.storage.stored.size).toBe(0);
  });
});

describe('verbs', () => {
  test('a container is created, started, and ends; each is reported, numbered, with what it answers', async () => {
    const { reported, container, clock } = await started();
    expect(
      reported.map(({ state, generation, starts, exits }) => [state, generation, starts, exits]),
    ).toEqual([
      ['created', 1, 0, 0],
      ['running', 2, 1, 0],
    ]);
    clock.advance(1000);
    container.exit(7, { oomKilled: true });
    await settle();

    expect(reported.at(-1)).toMatchObject({
      state: 'exited',
      exitCode: 7,
      oomKilled: true,
      exits: 1,
      pid: 0,
      generationErrorKind: '',
      finishedAtMs: clock.now(),
    });
    const sequences = reported.map(({ sequence }) => sequence);
    expect(sequences).toEqual([...new Set(sequences)].sort((a, b) => a - b));
  });

  test('start of what runs and stop of what does not are not modified; the rest conflicts, in Docker’s words', async () => {
    const { agent, last } = await started();
    const ask = async (verb: ContainerTarget_Verb, generation: number) => {
      agent.apply(assigned({ verb, generation }));
      await settle();
      expect(last()?.generation).toBe(generation);
      return `${last()?.generationErrorKind}: ${last()?.generationError}`;
    };
    expect(await ask('start', 3)).toMatch(/^notModified: /);
    expect(await ask('unpause', 4)).toBe('conflict: Container c1 is not paused');
    expect(await ask('pause', 5)).toBe(': ');
    expect(last()?.state).toBe('paused');
    expect(await ask('pause', 6)).toBe('conflict: Container c1 is already paused');
    expect(await ask('start', 7)).toBe('conflict: cannot start a paused container, try unpause instead');
    expect(await ask('unpause', 8)).toBe(': ');
    expect(last()?.state).toBe('running');
    expect(await ask('update', 9)).toBe(': ');
    expect(await ask('stop', 10)).toBe(': ');
    expect(last()).toMatchObject({ state: 'exited', exitCode: 143, exits: 1 });
    expect(await ask('stop', 11)).toMatch(/^notModified: /);
    expect(await ask('pause', 12)).toBe('conflict: container c1 is not running');
    expect(await ask('restart', 13)).toBe(': ');
    expect(last()).toMatchObject({ state: 'running', starts: 2 });
    expect(await ask('restart', 14)).toBe(': ');
    expect(last()).toMatchObject({ state: 'running', starts: 3, exits: 2, restartCount: 0 });
  });

  test('a command that cannot be found leaves it created, with 127 and the reason as the answer', async () => {
    const { newAgent, runtime, last } = setUp();
    const agent = newAgent();
    runtime.behaviour = {
      start: async () => {
        throw new StartError(127, 'exec: "nope": executable file not found in $PATH');
      },
    };
    agent.apply(assigned({ verb: 'start', generation: 2 }));
    await settle();

    expect(last()).toMatchObject({
      state: 'created',
      exitCode: 127,
      starts: 0,
      generation: 2,
      generationErrorKind: 'invalidArgument',
      generationError: expect.stringContaining('executable file not found'),
      error: expect.stringContaining('executable file not found'),
    });
    runtime.behaviour = {};
    agent.apply(assigned({ verb: 'start', generation: 3 }));
    await settle();
    expect(last()).toMatchObject({ state: 'running', generation: 3, generationError: '', error: '' });
  });

  test('a create waits for what fails for now, and answers what fails for good', async () => {
    const { newAgent, runtime, clock, last } = setUp();
    let tries = 0;
    runtime.behaviour = {
      create: async () => {
        throw ++tries < 3
          ? new ClusterError('unavailable', 'no peer')
          : new ClusterError('notFound', 'No such image');
      },
    };
    newAgent().apply(assigned());
    await clock.advanceAsync(5_000);

    expect(tries).toBe(3);
    expect(last()).toMatchObject({ generation: 1, generationErrorKind: 'notFound' });
  });

  test('a newer stop aborts a start that hangs; a removal cuts a stop short', async () => {
    const { newAgent, runtime, last, clock } = setUp();
    const agent = newAgent();
    runtime.behaviour = {
      start: (_, signal) =>
        new Promise((__, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
    };
    agent.apply(assigned({ verb: 'start', generation: 2 }));
    await settle();
    agent.apply(assigned({ verb: 'stop', generation: 3 }));
    await settle();
    expect(last()).toMatchObject({ generation: 3, generationErrorKind: 'notModified', state: 'created' });

    runtime.behaviour = { stopCode: undefined };
    agent.apply(assigned({ verb: 'start', generation: 4 }));
    await settle();
    agent.apply(assigned({ verb: 'stop', generation: 5 }));
    await clock.advanceAsync(1000);
    expect(last()).toMatchObject({ generation: 4, state: 'running' });
    agent.apply(assigned({ verb: 'stop', generation: 5, removing: true }));
    await settle();
    expect(last()).toMatchObject({ state: 'removed' });
  });
});

describe('restart policies', () => {
  test('a container that always comes back waits longer each time, and not after a run that lasted', async () => {
    const { container, clock, last } = await started({ restart: 'always' });
    for (const backoffMs of [100, 200, 400]) {
      container.exit(1);
      await settle();
      expect(last()).toMatchObject({ state: 'restarting', exitCode: 1 });
      await clock.advanceAsync(backoffMs - 1);
      expect(last()?.state).toBe('restarting');
      await clock.advanceAsync(1);
      expect(last()?.state).toBe('running');
      clock.advance(10);
    }
    expect(last()).toMatchObject({ starts: 4, exits: 3, restartCount: 3 });
    await clock.advanceAsync(10_000);
    container.exit(0);
    await clock.advanceAsync(100);
    expect(last()).toMatchObject({ state: 'running', restartCount: 4 });
  });

  test('on-failure gives up after so many times, and never comes back from a success', async () => {
    const { container, clock, last } = await started({ restart: 'on_failure', maxRetries: 2 });
    for (let time = 0; time < 3; time++) {
      container.exit(3);
      await clock.advanceAsync(60_000);
    }
    expect(last()).toMatchObject({ state: 'exited', starts: 3, restartCount: 2 });
    const well = await started({ restart: 'on_failure' });
    well.container.exit(0);
    await settle();
    expect(well.last()?.state).toBe('exited');
  });

  test('what the user stopped or killed stays down, also while it waits for its restart', async () => {
    const { container, clock, last, agent } = await started({ restart: 'always' });
    container.exit(1);
    await settle();
    agent.apply(assigned({ restart: 'always', verb: 'stop', generation: 3 }));
    await clock.advanceAsync(60_000);
    expect(last()).toMatchObject({ state: 'exited', generation: 3, generationErrorKind: '', starts: 1 });

    agent.apply(assigned({ restart: 'always', verb: 'start', generation: 4 }));
    await settle();
    clock.advance(10);
    await agent.get('c1').kill(9, true);
    await clock.advanceAsync(60_000);
    expect(last()).toMatchObject({ state: 'exited', exitCode: 137, starts: 2 });
  });

  test('a signal that is not meant to end it does not keep it down', async () => {
    const { clock, last, agent } = await started({ restart: 'always' });
    await agent.get('c1').kill(1, false);
    await clock.advanceAsync(100);
    expect(last()).toMatchObject({ state: 'running', starts: 2 });
  });

  test('after a boot exactly those come back whose policy says so', async () => {
    const outcomes: Record<string, string | undefined> = {};
    for (const restart of ['no', 'always', 'unless_stopped', 'on_failure'] as const) {
      for (const before of ['running', 'stopped', 'created'] as const) {
        const rig = setUp();
        const first = rig.newAgent();
        first.apply(assigned({ restart }));
        await settle();
        if (before !== 'created') first.apply(assigned({ restart, verb: 'start', generation: 2 }));
        await settle();
        rig.clock.advance(20_000);
        if (before === 'stopped') first.apply(assigned({ restart, verb: 'stop', generation: 3 }));
        await settle();
        await first.close();
        rig.clock.advance(1000);
        rig.runtime.reboot();
        const next = rig.newAgent();
        next.recover();
        await rig.clock.advanceAsync(1000);
        outcomes[`${restart} ${before}`] = next.states()[0]?.state;
        await next.close();
      }
    }
    expect(outcomes).toEqual({
      'no running': 'exited',
      'no stopped': 'exited',
      'no created': 'created',
      'always running': 'running',
      'always stopped': 'running',
      'always created': 'created',
      'unless_stopped running': 'running',
      'unless_stopped stopped': 'exited',
      'unless_stopped created': 'created',
      // Stopped by a signal: 143 is a failure, as in Docker.
      'on_failure running': 'running',
      'on_failure stopped': 'running',
      'on_failure created': 'created',
    });
  });

  test('what a policy is to bring back is on the disk before the start is answered', async () => {
    const disk = async (asked: Asked) => {
      const { storage, container } = await started(asked);
      return { syncs: storage.syncs, persists: container.persists };
    };
    expect(await disk({ restart: 'always' })).toEqual({ syncs: 1, persists: 1 });
    expect(await disk({})).toEqual({ syncs: 0, persists: 0 });

    const { agent, container } = await started();
    agent.apply(assigned({ restart: 'always', verb: 'update', generation: 3 }));
    await settle();
    expect(container.persists).toBe(1);
  });
});

describe('the end of a container', () => {
  test('one of --rm goes once nobody is attached, and says how it ended until that has been stored', async () => {
    const { container, agent, last, reported } = await started({ autoRemove: true });
    const leave = agent.attach('c1');
    container.exit(7);
    await settle();
    expect(last()?.state).toBe('exited');
    leave();
    await settle();

    expect(reported.slice(-2)).toMatchObject([
      { state: 'exited', exitCode: 7, exits: 1 },
      { state: 'removed', exitCode: 7, exits: 1 },
    ]);
    expect(agent.states()).toMatchObject([{ state: 'removed', exitCode: 7, exits: 1 }]);
    expect(container.life.kind).toBe('none');
  });

  test('one of --rm whose start fails goes with the reason as its answer', async () => {
    const { newAgent, runtime, last } = setUp();
    const agent = newAgent();
    runtime.behaviour = {
      start: async () => {
        throw new StartError(127, 'exec: "nope": executable file not found in $PATH');
      },
    };
    agent.apply(assigned({ autoRemove: true, verb: 'start', generation: 2 }));
    await settle();

    expect(last()).toMatchObject({
      state: 'removed',
      exitCode: 127,
      generation: 2,
      generationError: expect.stringContaining('executable file not found'),
    });
  });

  test('a removed container is not made again while its object is still there, and is forgotten with it', async () => {
    const { container, agent, last, storage, forgotten, newAgent } = await started();
    agent.apply(assigned({ removing: true }));
    await settle();
    expect(last()?.state).toBe('removed');
    expect(container.calls.filter((call) => call === 'remove')).toHaveLength(1);
    await agent.close();
    const next = newAgent();
    next.recover();
    next.apply(assigned({ verb: 'start', generation: 9 }));
    await settle();
    expect(container.life.kind).toBe('none');
    expect(() => next.get('c1')).toThrow('No such container: c1');
    next.apply(new Map());
    await settle();
    expect(storage.stored.size).toBe(0);
    expect(forgotten).toEqual(['c1']);
  });

  test('what is no longer assigned is removed, running or not', async () => {
    const { container, agent, storage } = await started();
    agent.apply(new Map());
    await settle();
    expect(container.life.kind).toBe('none');
    expect(storage.stored.size).toBe(0);
  });
});

describe('an agent that dies', () => {
  /** Takes one container through its verbs, with an agent that dies after so many writes of its own. */
  async function walk(writesLeft: number, random: SeededRandom) {
    const rig = setUp();
    const { clock, runtime, storage, reported } = rig;
    const mortal = new MemoryStorage(storage.stored, writesLeft);
    let agent = rig.newAgent(mortal);
    let died = false;
    const work = async (asked: Asked) => {
      const set = assigned({ restart: 'on_failure', ...asked });
      const target = asked.generation ?? 1;
      const isDone = () => (storage.stored.get('c1')?.state.generation ?? 0) >= target;
      for (let turn = 0; turn < 50 && !isDone(); turn++) {
        try {
          agent.apply(set);
        } catch (error) {
          if (!(error instanceof Died)) throw error;
        }
        await clock.advanceAsync(20);
        if (mortal.writesLeft >= 0 || died) continue;
        died = true;
        // What runs may end before the next agent comes.
        if (runtime.container('c1').isUp && random.next() < 0.3) runtime.container('c1').exit(0);
        clock.advance(10);
        agent = rig.newAgent();
        agent.recover();
      }
      expect(isDone()).toBe(true);
      clock.advance(10);
    };
    await work({});
    await work({ verb: 'start', generation: 2 });
    await work({ verb: 'restart', generation: 3 });
    await work({ verb: 'stop', generation: 4 });
    await work({ verb: 'start', generation: 5 });
    const { state } = storage.stored.get('c1')!;
    const errors = reported.filter(({ generationErrorKind }) => generationErrorKind !== '');
    return { state, errors, calls: runtime.container('c1').calls, died };
  }

  test('at any write: each verb takes effect once and is answered well, and no start or end is lost', async () => {
    // Those that are reported: a rejection inside a loop that died is part of dying.
    const onRejection = (error: unknown) => {
      if (!(error instanceof Died)) throw error;
    };
    process.on('unhandledRejection', onRejection);
    const random = new SeededRandom(1);
    let deaths = 0;
    for (let round = 0; round < 90; round++) {
      const { state, errors, died } = await walk(round % 18, random);
      deaths += died ? 1 : 0;
      // Only a stop may find that what it was to stop has ended while no agent was there.
      const wrong = errors.filter(
        (each) => each.generation !== 4 || each.generationErrorKind !== 'notModified',
      );
      expect(wrong).toEqual([]);
      expect(state.starts - state.exits).toBe(state.state === 'running' ? 1 : 0);
      expect(state.starts).toBeGreaterThanOrEqual(3);
      expect(state.starts).toBeLessThanOrEqual(4);
    }
    expect(deaths).toBeGreaterThan(60);
    await settle();
    process.off('unhandledRejection', onRejection);
  });

  test('at any write in the life of a container of --rm: it runs once, goes, and its end is told', async () => {
    const onRejection = (error: unknown) => {
      if (!(error instanceof Died)) throw error;
    };
    process.on('unhandledRejection', onRejection);
    let deaths = 0;
    for (let writesLeft = 0; writesLeft < 12; writesLeft++) {
      const { clock, runtime, storage, newAgent } = setUp();
      const mortal = new MemoryStorage(storage.stored, writesLeft);
      let agent = newAgent(mortal);
      const container = runtime.container('c1');
      const wanted = [
        assigned({ autoRemove: true }),
        assigned({ autoRemove: true, verb: 'start', generation: 2 }),
      ];
      let died = false;
      for (let turn = 0; turn < 20; turn++) {
        try {
          agent.apply(wanted[Math.min(turn, 1)]!);
        } catch (error) {
          if (!(error instanceof Died)) throw error;
        }
        await clock.advanceAsync(20);
        if (container.isUp && turn > 3) container.exit(7);
        await clock.advanceAsync(20);
        if (mortal.writesLeft >= 0 || died) continue;
        died = true;
        // What is dead does nothing more to the host either.
        await agent.close();
        agent = newAgent();
        agent.recover();
      }
      deaths += died ? 1 : 0;
      expect(storage.stored.get('c1')?.state).toMatchObject({
        state: 'removed',
        generation: 2,
        generationError: '',
        exitCode: 7,
        starts: 1,
        exits: 1,
      });
      expect(container.life.kind).toBe('none');
      expect(container.calls.filter((call) => call === 'start')).toHaveLength(1);
    }
    expect(deaths).toBeGreaterThan(5);
    await settle();
    process.off('unhandledRejection', onRejection);
  });
});
