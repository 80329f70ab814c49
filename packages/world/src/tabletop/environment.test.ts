import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { thrown } from '../../../datasets/test/thrown.js';
import { makeEnvironment } from '../make-environment.js';
import { INSTRUCTIONS, TABLETOP_TASKS } from '../names.js';
import { TabletopEnvironment } from './environment.js';
import { ENVIRONMENT_STATE_NAMES } from './view.js';

let env: TabletopEnvironment;
beforeAll(async () => {
  env = await TabletopEnvironment.create({
    task: 'place-in-red-bin',
    cameras: ['wrist'],
    imageSize: [24, 32],
  });
});
afterAll(() => env.dispose());

/** Plays some steps of an episode and returns every observation. */
function play(seed: number, steps: number) {
  const seen = [env.reset(seed).observation];
  const state = seen[0]!['observation.state']!;
  for (let step = 0; step < steps; step++) {
    const action = Float32Array.from(state, (value, joint) => value + 10 * Math.sin(step + joint));
    seen.push(env.step(action).observation);
  }
  return seen;
}

describe('TabletopEnvironment', () => {
  it('observes what it says', () => {
    const { observation, info } = env.reset(3);
    expect(Object.keys(observation)).toEqual(Object.keys(env.observationFeatures));
    for (const [key, { shape, names, dtype }] of Object.entries(env.observationFeatures)) {
      const values = observation[key]!;
      expect(values.length).toBe(shape.reduce((a, b) => a * b));
      expect(values).toBeInstanceOf(dtype === 'uint8' ? Uint8Array : Float32Array);
      expect(names.length).toBe(dtype === 'uint8' ? 3 : shape[0]);
    }
    expect(info).toEqual({ task: INSTRUCTIONS['place-in-red-bin'], success: false, achieved: [] });
  });

  it('gives the same bits for a seed, whatever happened before', () => {
    const first = play(11, 12);
    play(12, 5);
    expect(play(11, 12)).toEqual(first);
    expect(play(12, 1)[0]).not.toEqual(first[0]);
  });

  it('differs between red and blue only in what is asked', async () => {
    const blue = await TabletopEnvironment.create({
      task: 'place-in-blue-bin',
      cameras: ['wrist'],
      imageSize: [24, 32],
    });
    const column = ENVIRONMENT_STATE_NAMES.indexOf('red_bin_y');
    const sides = new Set<number>();
    for (let seed = 0; seed < 12; seed++) {
      const { observation } = env.reset(seed);
      expect(blue.reset(seed).observation).toEqual(observation);
      sides.add(Math.sign(observation['observation.environment_state']![column]!));
    }
    expect(sides.size).toBe(2);
    blue.dispose();
  });

  it('shows what is not on the table as zeros', () => {
    const values = env.reset(0).observation['observation.environment_state']!;
    const named = Object.fromEntries(ENVIRONMENT_STATE_NAMES.map((name, i) => [name, values[i]]));
    expect(named).toMatchObject({ yellow_cube_x: 0, yellow_cube_cos: 0, button_x: 0, button_pressed: 0 });
    expect(named.green_cube_z).toBeCloseTo(0.014);
    expect(named.red_bin_x).toBeGreaterThan(0.05);
  });

  it('holds still when told its own state, and ends when the time is over', () => {
    const { observation } = env.reset(5);
    const home = observation['observation.state']!;
    let last = env.step(home);
    for (let step = 1; step < env.maxSteps; step++) {
      expect(last.truncated || last.terminated).toBe(false);
      last = env.step(home);
    }
    expect(last).toMatchObject({ truncated: true, terminated: false, reward: 0 });
    last.observation['observation.state']!.forEach((value, joint) => {
      expect(Math.abs(value - home[joint]!)).toBeLessThan(0.5);
    });
  });

  it('refuses actions that make no sense, without a step being done', async () => {
    env.reset(1);
    expect(thrown(() => env.step([1, 2, 3]))).toMatchObject({ code: 'ENV_ACTION' });
    expect(thrown(() => env.step(undefined as unknown as number[]))).toMatchObject({ code: 'ENV_ACTION' });
    expect(thrown(() => env.step([0, 0, Number.NaN, 0, 0, 0]))).toMatchObject({
      code: 'ENV_ACTION',
      message: 'tabletop: elbow_flex.pos of the action is NaN; expected a finite number',
    });
    env.step([1e30, -1e30, 0, 0, 0, 0]);
    const fresh = await TabletopEnvironment.create({ task: 'lift' });
    expect(thrown(() => fresh.step([0, 0, 0, 0, 0, 0]))).toMatchObject({ code: 'ENV_DONE' });
    fresh.dispose();
  });

  it.each([Number.NaN, undefined as unknown as number, -1, 0.5, 2 ** 32])(
    'refuses the seed %s, and leaves the episode as it is',
    (seed) => {
      env.reset(1);
      expect(thrown(() => env.reset(seed))).toMatchObject({
        code: 'ENV_SEED',
        message: `tabletop: the seed is ${seed}; expected a whole number from 0 to 4294967295`,
      });
      expect(thrown(() => env.expert({ seed }))).toMatchObject({ code: 'ENV_SEED' });
      env.step([0, 0, 0, 0, 0, 0]);
      env.reset(2 ** 32 - 1);
    },
  );

  it('refuses what there is not', async () => {
    await expect(makeEnvironment({ task: 'juggle' })).rejects.toMatchObject({ code: 'ENV_TASK' });
    await expect(makeEnvironment({ task: 'lift', cameras: ['behind'] })).rejects.toMatchObject({
      code: 'ENV_CAMERA',
    });
    await expect(makeEnvironment({ task: 'lift', imageSize: [0, 5] })).rejects.toMatchObject({
      code: 'ENV_IMAGE_SIZE',
    });
    const unknown = { type: 'kitchen' } as unknown as { task: string };
    await expect(makeEnvironment(unknown)).rejects.toMatchObject({ code: 'ENV_TYPE' });
  });
});

describe('the scripted experts', () => {
  it.each(TABLETOP_TASKS)('%s: ten of ten', async (task) => {
    const world = await TabletopEnvironment.create({ task });
    for (let seed = 500; seed < 510; seed++) {
      world.reset(seed);
      const expert = world.expert({ seed });
      let step = world.step(expert.act());
      while (!step.terminated && !step.truncated) step = world.step(expert.act());
      expect([seed, step.info.success]).toEqual([seed, true]);
      expect(step.info.achieved).toContain(task);
    }
    world.dispose();
  });
});
