import { join } from 'node:path';
import { scope, tensor } from '@craft-ft/torch';
import { expect, test } from 'vitest';
import { LeRobotDataset } from '../../datasets/src/dataset/dataset.js';
import { MixtureSampler, MultiDataset } from '../../datasets/src/dataset/mixture.js';
import { RandomSampler } from '../../datasets/src/dataset/samplers.js';
import { StreamingDataset } from '../../datasets/src/dataset/streaming.js';
import { makeDataset, readParquet, writeParquet } from '../../datasets/test/datasets.js';
import type { Policy } from '../../policies/src/policy.js';
import { PolicyProcessors, ProcessorPipeline } from '../../policies/src/processors/pipeline.js';
import type { ProcessorStep, TensorBatch, Texts } from '../../policies/src/processors/step.js';
import { DataStream, type Preprocess, StreamedData, type TrainingData } from './data-stream.js';
import { evaluateLoss } from './evaluate-loss.js';

/** What the preprocessor was given for some batches: each sample's episode and its instruction. */
async function seenBy(make: (preprocess: Preprocess) => TrainingData): Promise<[number, string][]> {
  const seen: [number, string][] = [];
  const data = make((batch, texts) => {
    collect(seen, batch, texts);
    return batch;
  });
  for (let step = 0; step < 3; step++) {
    await data.ready(step, 2);
    scope(() => data.batch(step));
  }
  await data.close();
  return seen;
}

function collect(seen: [number, string][], batch: TensorBatch, texts: Texts): void {
  const episodes = (batch.episode_index!.tolist() as number[]).map(Number);
  expect(texts.task).toHaveLength(episodes.length);
  for (const [i, episode] of episodes.entries()) seen.push([episode, texts.task![i]!]);
}

const own = ([episode, task]: [number, string]) => task === (episode % 2 === 0 ? 'push' : 'pull');

test('every sample comes with its instruction: one dataset, a mixture, a streamed dataset', async () => {
  const root = makeDataset([4, 6, 5]);
  const dataset = await LeRobotDataset.open({ root });
  const loaded = await seenBy((preprocess) => {
    return new DataStream(dataset, new RandomSampler(dataset, { seed: 1 }), 5, preprocess);
  });
  const other = await LeRobotDataset.open({ root: makeDataset([7, 3]), repoId: 'other' });
  const mixture = new MultiDataset([{ dataset }, { dataset: other }]);
  const mixed = await seenBy((preprocess) => {
    return new DataStream(mixture, new MixtureSampler(mixture, { seed: 1 }), 5, preprocess);
  });
  const streaming = await StreamingDataset.open({ root, seed: 1 });
  const streamed = await seenBy((preprocess) => new StreamedData(streaming, 5, preprocess));
  for (const seen of [loaded, mixed, streamed]) {
    expect(seen).toHaveLength(15);
    expect(seen.every(own)).toBe(true);
    expect(new Set(seen.map(([, task]) => task))).toEqual(new Set(['push', 'pull']));
  }
});

test('a dataset without instructions gives empty ones', async () => {
  const root = makeDataset([4, 6]);
  const tasks = join(root, 'meta/tasks.parquet');
  expect(await readParquet(tasks)).toHaveLength(2);
  writeParquet(tasks, { task_index: ['int64', 0, []], task: ['string', 0, []] });
  const dataset = await LeRobotDataset.open({ root });
  const streaming = await StreamingDataset.open({ root, seed: 1 });
  const mixture = new MultiDataset([{ dataset }]);
  for (const make of [
    (preprocess: Preprocess) =>
      new DataStream(dataset, new RandomSampler(dataset, { seed: 1 }), 2, preprocess),
    (preprocess: Preprocess) =>
      new DataStream(mixture, new MixtureSampler(mixture, { seed: 1 }), 2, preprocess),
    (preprocess: Preprocess) => new StreamedData(streaming, 2, preprocess),
  ]) {
    expect((await seenBy(make)).map(([, task]) => task)).toEqual(Array<string>(6).fill(''));
  }
});

test('evaluation passes them too, and steps share what they change', async () => {
  const dataset = await LeRobotDataset.open({ root: makeDataset([2, 3]) });
  const seen: [number, string][] = [];
  const loud: ProcessorStep = {
    registryName: 'loud',
    process: (batch, texts) => {
      texts.task = texts.task!.map((task) => task.toUpperCase());
      return batch;
    },
    config: () => ({}),
    state: () => null,
  };
  const looking: ProcessorStep = {
    ...loud,
    process: (batch, texts) => {
      collect(seen, batch, texts);
      return batch;
    },
  };
  const processors = new PolicyProcessors(
    new ProcessorPipeline('policy_preprocessor', [loud, looking]),
    new ProcessorPipeline('policy_postprocessor', []),
  );
  const policy = {
    training: true,
    config: { input_features: {} },
    eval: () => {},
    train: () => {},
    call: () => ({ loss: tensor(1), metrics: {} }),
  } as unknown as Policy;
  await evaluateLoss(policy, processors, dataset, 2);
  expect(seen.map(([, task]) => task)).toEqual(['PUSH', 'PUSH', 'PULL', 'PULL', 'PULL']);
});
