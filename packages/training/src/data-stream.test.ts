import { join } from 'node:path';
import { scope } from '@craft-ft/torch';
import { beforeAll, expect, test } from 'vitest';
import { LeRobotDataset } from '../../datasets/src/dataset/dataset.js';
import { RandomSampler } from '../../datasets/src/dataset/samplers.js';
import { makeTask, testFolder } from '../test/training.js';
import { DataStream } from './data-stream.js';

let dataset: LeRobotDataset;
beforeAll(async () => {
  const root = makeTask(join(testFolder(), 'data'), { lengths: [5, 8] });
  dataset = await LeRobotDataset.open({ root, deltaTimestamps: { action: [0, 0.1, 0.2] } });
});

const open = (seed: number, batchSize = 3) =>
  new DataStream(dataset, new RandomSampler(dataset, { seed }), batchSize, (batch) => batch);

const indices = (stream: DataStream, step: number) =>
  scope(() => stream.batch(step).index!.tolist() as number[]).map(Number);

test('a batch is a function of the step alone: where a run was stopped, and what else was read, changes nothing', () => {
  const straight = open(1);
  const order = Array.from({ length: 20 }, (_, step) => indices(straight, step));
  const other = open(2);
  for (const step of [19, 0, 7, 7, 12, 3]) {
    indices(other, step);
    expect(indices(open(1), step)).toEqual(order[step]);
    expect(indices(straight, step)).toEqual(order[step]);
  }
  expect(indices(other, 0)).not.toEqual(order[0]);
});

test('every frame once per epoch, batches always full', () => {
  const seen = Array.from({ length: 13 }, (_, step) => indices(open(4), step)).flat();
  for (let epoch = 0; epoch < 3; epoch++) {
    const frames = seen.slice(13 * epoch, 13 * (epoch + 1));
    expect(frames.sort((a, b) => a - b)).toEqual(Array.from({ length: 13 }, (_, i) => i));
  }
  expect(open(4).epochs(13)).toBe(3);
});

test('tensors have the shapes and dtypes of the batch', () => {
  scope(() => {
    const batch = open(1).batch(0);
    const shapes = Object.fromEntries(
      Object.entries(batch).map(([key, { shape, dtype }]) => [key, [shape.join(), dtype]]),
    );
    expect(shapes).toMatchObject({
      'observation.state': ['3,3', 'float32'],
      action: ['3,3,2', 'float32'],
      action_is_pad: ['3,3', 'bool'],
      index: ['3', 'int64'],
    });
  });
});

test('what the preprocessor makes of a batch', () => {
  const stream = new DataStream(dataset, new RandomSampler(dataset, { seed: 1 }), 2, ({ action }) => ({
    action: action!.mul(2),
  }));
  scope(() => {
    expect(Object.keys(stream.batch(0))).toEqual(['action']);
    const raw = new DataStream(dataset, stream.sampler, 2, (batch) => batch).batch(0).action!;
    expect(stream.batch(0).action!.tolist()).toEqual(raw.mul(2).tolist());
  });
});
