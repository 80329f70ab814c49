import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CraftError, memory } from '@craft-ft/torch';
import { beforeEach, describe, expect, test } from 'vitest';
import { filesOf, makeTask, metricsOf, runConfig, testFolder } from '../test/training.js';
import { type TrainObserver, type TrainResult, train } from './loop.js';
import { prepareTraining } from './prepare.js';

const data = makeTask(join(testFolder(), 'data'));
let output = '';
beforeEach(() => {
  output = join(testFolder(), 'run');
});

const configure = (more: object = {}) =>
  runConfig(data, output, { steps: 7, log_freq: 3, save_freq: 4, ...more });

async function run(more: object = {}, observer?: TrainObserver, signal?: AbortSignal): Promise<TrainResult> {
  return train(await prepareTraining(configure(more)), observer, signal);
}

const checkpoints = () => readdirSync(join(output, 'checkpoints'));
const logged = () => metricsOf(output).map(({ step }) => step);

describe('what is logged and saved when', () => {
  test('by frequency, and the last step always', async () => {
    const seen: string[] = [];
    const result = await run(
      {},
      {
        onStep: (step, steps, loss) => seen.push(`step ${step}/${steps} ${typeof loss}`),
        onLog: ({ step }) => seen.push(`log ${step}`),
        onCheckpoint: (path, step) => seen.push(`save ${step} ${path.slice(output.length)}`),
      },
    );
    expect(result).toEqual({ step: 7, interrupted: false, checkpoint: join(output, 'checkpoints/000007') });
    expect(seen.filter((line) => !line.startsWith('step'))).toEqual([
      'log 3',
      'save 4 /checkpoints/000004',
      'log 6',
      'log 7',
      'save 7 /checkpoints/000007',
    ]);
    expect(seen.filter((line) => line.startsWith('step'))).toEqual(
      Array.from({ length: 7 }, (_, i) => `step ${i + 1}/7 number`),
    );
    expect(checkpoints()).toEqual(['000004', '000007', 'last']);
    expect(logged()).toEqual([3, 6, 7]);
  });

  test('0: the last step only', async () => {
    await run({ log_freq: 0, save_freq: 0 });
    expect(checkpoints()).toEqual(['000007', 'last']);
    expect(logged()).toEqual([7]);
  });

  test('no checkpoints at all', async () => {
    expect(await run({ save_checkpoint: false })).toMatchObject({ checkpoint: null });
    expect(existsSync(join(output, 'checkpoints'))).toBe(false);
  });
});

describe('a signal', () => {
  test('ends the run after the step under way, saved', async () => {
    const controller = new AbortController();
    const onStep = (step: number) => {
      if (step === 5) controller.abort();
    };
    expect(await run({}, { onStep }, controller.signal)).toEqual({
      ...{ step: 5, interrupted: true },
      checkpoint: join(output, 'checkpoints/000005'),
    });
    expect(checkpoints()).toEqual(['000004', '000005', 'last']);
    // The window continues when the run is resumed.
    expect(logged()).toEqual([3]);
  });

  test('from a timer is heard between steps', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 30);
    const result = await run({ steps: 100_000, save_freq: 0 }, {}, controller.signal);
    expect(result.interrupted).toBe(true);
    expect(result.step).toBeLessThan(2000);
  });

  test('before the first step: nothing is done', async () => {
    const result = await run({}, {}, AbortSignal.abort());
    expect(result).toEqual({ step: 0, interrupted: true, checkpoint: null });
    expect([...filesOf(output).keys()]).toEqual([]);
  });
});

describe('the output folder', () => {
  const codeOf = (promise: Promise<unknown>) =>
    promise.then(
      () => 'fine',
      (error: CraftError) => error.code,
    );

  test('with anything in it is refused before anything else happens', async () => {
    mkdirSync(output);
    writeFileSync(join(output, 'precious'), '1');
    expect(await codeOf(prepareTraining(configure()))).toBe('OUTPUT_EXISTS');
    expect([...filesOf(output).keys()]).toEqual(['precious']);
  });

  test('preparing writes nothing', async () => {
    await prepareTraining(configure());
    expect(existsSync(output)).toBe(false);
  });

  test('that cannot be made', async () => {
    writeFileSync(output, '');
    expect(await codeOf(prepareTraining(configure()))).toBe('OUTPUT_EXISTS');
    expect(await codeOf(run({ output_dir: join(output, 'below') }))).toBe('WRITE_FAILED');
  });
});

describe('an evaluation', () => {
  const evaluate = async () => {
    throw new CraftError('ENV_ACTION', 'the robot is on fire');
  };

  test('that fails ends the run with its step saved', async () => {
    const prepared = await prepareTraining(configure());
    await expect(train(prepared, {}, undefined, { freq: 2, evaluate })).rejects.toThrow('on fire');
    expect(checkpoints()).toEqual(['000002', 'last']);
  });

  test('hears the signal, and may have nothing to say', async () => {
    const controller = new AbortController();
    const heard: boolean[] = [];
    const prepared = await prepareTraining(configure());
    const result = await train(prepared, {}, controller.signal, {
      freq: 2,
      evaluate: async (_, signal) => {
        controller.abort();
        heard.push(signal!.aborted);
        return null;
      },
    });
    expect(heard).toEqual([true]);
    expect(result).toMatchObject({ step: 2, interrupted: true });
    expect(checkpoints()).toEqual(['000002', 'last']);
  });
});

test('steps leave no tensor behind', async () => {
  const counts: number[] = [];
  await run({ steps: 30, save_freq: 5, log_freq: 4 }, { onStep: () => counts.push(memory().tensors) });
  // Garbage from other tests may be collected meanwhile, but nothing may be added.
  expect(counts.at(-1)).toBeLessThanOrEqual(counts[1]!);
});
