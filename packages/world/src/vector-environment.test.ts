import { describe, expect, it } from 'vitest';
import type { StepResult } from './environment.js';
import { makeEnvironment } from './make-environment.js';
import { VectorEnvironment } from './vector-environment.js';

const SPEC = { task: 'lift', cameras: ['top'], imageSize: [8, 8] as const };

/** Four steps in five environments: the third skips the second step, and the last step renders no images. */
async function play(workers: number) {
  const environments = await VectorEnvironment.create(SPEC, 5, { workers });
  try {
    const starts = await environments.reset([1, 2, 3, 4, 5]);
    const actions = starts.map(({ observation }) => observation['observation.state']!);
    const seen: unknown[] = [starts];
    for (const skipped of [null, 2, null])
      seen.push(await environments.step(actions.map((action, i) => (i === skipped ? null : action))));
    seen.push(await environments.step(actions, { cameras: false }));
    seen.push(await environments.render([4, 0], 6, 4));
    return seen;
  } finally {
    await environments.close();
  }
}

describe('VectorEnvironment', () => {
  it('does the same on any number of threads, and as one environment alone', async () => {
    const alone = await play(0);
    expect(await play(2)).toEqual(alone);
    expect((alone[2] as unknown[])[2]).toBeNull();
    const [pictured, blind] = [3, 4].map((at) => Object.keys((alone[at] as StepResult[])[0]!.observation));
    expect(blind).toEqual(['observation.state', 'observation.environment_state']);
    expect(pictured).toEqual([...blind!, 'observation.images.top']);
    const environment = await makeEnvironment(SPEC);
    expect(environment.reset(4)).toEqual((alone[0] as unknown[])[3]);
    environment.dispose();
  });

  it('refuses what is not one for each environment', async () => {
    for (const count of [0, 1.5, Number.NaN]) {
      await expect(VectorEnvironment.create({ task: 'lift' }, count)).rejects.toMatchObject({
        code: 'ENV_COUNT',
        message: `lift: the number of environments is ${count}; expected a whole number from 1 on`,
      });
    }
    const environments = await VectorEnvironment.create({ task: 'lift' }, 2, { workers: 0 });
    const still = [0, 0, 0, 0, 0, 0];
    await expect(environments.reset([1, 2, 3])).rejects.toMatchObject({
      code: 'ENV_SEED',
      message: 'lift: there are 3 seeds for 2 environments; expected an array with one for each',
    });
    await expect(environments.reset(7 as unknown as number[])).rejects.toMatchObject({ code: 'ENV_SEED' });
    await expect(environments.reset([1, Number.NaN])).rejects.toMatchObject({ code: 'ENV_SEED' });
    await environments.reset([1, 2]);
    for (const actions of [[still, still, still], undefined, new Float32Array(12), [still, undefined]]) {
      const step = environments.step(actions as unknown as number[][]);
      await expect(step).rejects.toMatchObject({ code: 'ENV_ACTION' });
    }
    expect(await environments.step([still, null])).toEqual([expect.any(Object), null]);
    await environments.close();
  });

  it('passes on the errors of its environments', async () => {
    await expect(VectorEnvironment.create({ task: 'juggle' }, 2, { workers: 1 })).rejects.toMatchObject({
      code: 'ENV_TASK',
    });
    const environments = await VectorEnvironment.create({ task: 'lift' }, 2, { workers: 1 });
    await environments.reset([0, 1]);
    await expect(environments.step([[0], [0]])).rejects.toMatchObject({ code: 'ENV_ACTION' });
    await environments.close();
    await expect(environments.reset([0, 1])).rejects.toMatchObject({ code: 'ENV_CLOSED' });
  });
});
