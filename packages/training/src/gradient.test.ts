import { join } from 'node:path';
import { cat, manualSeed, memory, ones, optim, randn, scope, type Tensor, zeros } from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import { ActPolicy } from '../../policies/src/act/policy.js';
import { SMALL_ACT, smallAct } from '../../policies/test/act-small.js';
import { makeTask, metricsOf, readJson, runConfig, testFolder, withoutTimes } from '../test/training.js';
import type { TrainingData } from './data-stream.js';
import { accumulate, type LossNumbers, MicroBatches, meanNumbers } from './gradient.js';
import { train } from './loop.js';
import { prepareTraining } from './prepare.js';

describe('the gradient of micro-batches', () => {
  const policy = () => {
    manualSeed(1);
    return new ActPolicy(smallAct({ dropout: 0 }));
  };
  const samples = (size: number) => ({
    'observation.state': randn([size, 3]),
    action: randn([size, 4, 2]),
    action_is_pad: zeros([size, 4], { dtype: 'bool' }),
    noise: randn([size, 4]),
  });

  test.each([1, 2, 5])('%d of them: that of one batch of all their samples', (count) => {
    const act = policy();
    const flat = new optim.FlatParameters(act.parameterGroups());
    const [parts, whole] = [flat.gradBuffer(), flat.gradBuffer()];
    const batches = Array.from({ length: count }, () => samples(3));
    const keys = Object.keys(batches[0]!) as (keyof (typeof batches)[0])[];
    const all = Object.fromEntries(
      keys.map((key) => [
        key,
        cat(
          batches.map((batch) => batch[key]),
          0,
        ),
      ]),
    );
    const forward = (batch: Record<string, Tensor>) => act.call(batch);
    const many = accumulate(
      batches.map((batch) => () => batch),
      forward,
      parts,
      'loss',
    );
    const one = accumulate([() => all], forward, whole, 'loss');
    expect(many.loss).toBeCloseTo(one.loss, 5);
    expect(many.metrics.l1_loss).toBeCloseTo(one.metrics.l1_loss!, 5);
    expect(parts.reached).toEqual(whole.reached);
    const scale = whole.flat.abs().max().item();
    expect(parts.flat.sub(whole.flat).abs().max().item() / scale).toBeLessThan(1e-5);
  });

  test('the loss of micro-batches with padding is that of one batch of all their samples', () => {
    const act = policy();
    const flat = new optim.FlatParameters(act.parameterGroups());
    const batches = [samples(2), samples(2)];
    // The samples of the second lie at the end of their episodes, where one step of the chunk is left.
    batches[1]!.action_is_pad = ones([2, 4], { dtype: 'bool' });
    batches[1]!.action_is_pad.narrow(1, 0, 1).fill_(0);
    const keys = Object.keys(batches[0]!) as (keyof (typeof batches)[0])[];
    const all = Object.fromEntries(keys.map((key) => [key, cat([batches[0]![key], batches[1]![key]], 0)]));
    const forward = (batch: Record<string, Tensor>) => act.call(batch);
    const loss = (parts: Record<string, Tensor>[]) =>
      accumulate(
        parts.map((part) => () => part),
        forward,
        flat.gradBuffer(),
        'loss',
      ).loss;
    expect(loss(batches)).toBeCloseTo(loss([all]), 5);
  });

  test('a loss that is not finite stops the step, whichever it is in', () => {
    const act = policy();
    const flat = new optim.FlatParameters(act.parameterGroups());
    const bad = samples(3);
    bad.action.fill_(Number.NaN);
    expect(() =>
      accumulate(
        [() => samples(3), () => bad],
        (batch) => act.call(batch),
        flat.gradBuffer(),
        'step 1: loss',
      ),
    ).toThrow(/^step 1: loss is NaN/);
  });

  test('means of what each reports', () => {
    const parts: LossNumbers[] = [
      { loss: 1, metrics: { a: 2, b: 4 } },
      { loss: 3, metrics: { a: 4 } },
    ];
    expect(meanNumbers(parts)).toEqual({ loss: 2, metrics: { a: 3, b: 4 } });
  });
});

describe('groups of batches', () => {
  class Counting implements TrainingData {
    readonly batchSize = 1;
    readonly framesPerEpoch = 10;
    readonly readied: [number, number?][] = [];
    async ready(step: number, last?: number): Promise<void> {
      this.readied.push([step, last]);
    }
    batch(step: number) {
      // Like a stream, gives only the batch that was awaited last.
      expect(this.readied.at(-1)![0]).toBe(step);
      return { x: zeros([1]).add(step) };
    }
    async close(): Promise<void> {}
  }

  test('batch i of step s is s·N + i, held until the next group is asked for', async () => {
    const data = new Counting();
    const micro = new MicroBatches(data, 3);
    await micro.ready(2, 9);
    await micro.ready(2, 9);
    expect(data.readied).toEqual([
      [6, 29],
      [7, 29],
      [8, 29],
    ]);
    const values = () => micro.batches(2).map((batch) => scope(() => batch().x!.item()));
    expect([values(), values()]).toEqual([
      [6, 7, 8],
      [6, 7, 8],
    ]);
    expect(() => micro.batches(3)).toThrow('not waited for');
    const before = memory().tensors;
    await micro.ready(3, 9);
    expect(memory().tensors).toBeLessThanOrEqual(before);
  });
});

describe('a run', () => {
  const folder = testFolder();
  const data = makeTask(join(folder, 'data'));
  const configure = (name: string, more: object) =>
    runConfig(data, join(folder, name), {
      policy: { ...SMALL_ACT, dropout: 0 },
      steps: 4,
      log_freq: 1,
      save_freq: 2,
      ...more,
    });

  test('of 2 batches per step counts optimiser steps, and resumes exactly', async () => {
    const more = { gradient_accumulation_steps: 2 };
    await train(await prepareTraining(configure('whole', more)));
    expect(metricsOf(join(folder, 'whole')).map(({ step, samples }) => [step, samples])).toEqual([
      [1, 8],
      [2, 16],
      [3, 24],
      [4, 32],
    ]);
    const checkpoint = join(folder, 'whole/checkpoints/000002');
    expect(readJson(checkpoint, 'training_state/training_step.json')).toMatchObject({
      step: 2,
      grad_accum_steps: 2,
    });
    // Under LeRobot's own name, which it reads back.
    const saved = readJson(checkpoint, 'pretrained_model/train_config.json');
    expect(saved).toMatchObject({ accelerator: { gradient_accumulation: { steps: 2 } } });
    expect(saved).not.toHaveProperty('gradient_accumulation_steps');
    const continued = configure('continued', more);
    await train(await prepareTraining(continued, { resumeFrom: checkpoint }));
    const [a, b] = ['whole', 'continued'].map((name) =>
      metricsOf(join(folder, name)).slice(-2).map(withoutTimes),
    );
    expect(b).toEqual(a);
  });

  test("takes LeRobot's name, and the flat one first", () => {
    const accelerator = { gradient_accumulation: { steps: 3 } };
    expect(configure('x', { accelerator }).gradient_accumulation_steps).toBe(3);
    expect(configure('x', { accelerator, gradient_accumulation_steps: 2 }).gradient_accumulation_steps).toBe(
      2,
    );
    expect(() => configure('x', { accelerator: { gradient_accumulation: { steps: 0 } } })).toThrow();
  });
});
