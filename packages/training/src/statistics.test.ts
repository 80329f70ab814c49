import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LeRobotDataset } from '../../datasets/src/dataset/dataset.js';
import { MultiDataset } from '../../datasets/src/dataset/mixture.js';
import { computeStats, type DatasetStats } from '../../datasets/src/dataset/stats.js';
import { StreamingDataset } from '../../datasets/src/dataset/streaming.js';
import { editJson, makeDataset, makeV21Dataset, valueAt } from '../../datasets/test/datasets.js';
import { makeProcessors } from '../../policies/src/policy-processors.js';
import { statTensors } from '../../policies/src/processors/stats.js';
import { type PolicyConfig, parsePolicyConfig } from '../../policies/src/registry.js';
import { policyStats } from './statistics.js';

const policyOf = (changes: object = {}): PolicyConfig =>
  parsePolicyConfig(
    {
      type: 'pi0_fast',
      device: 'cpu',
      chunk_size: 2,
      n_action_steps: 2,
      input_features: { 'observation.state': { type: 'STATE', shape: [3] } },
      output_features: { action: { type: 'ACTION', shape: [2] } },
      ...changes,
    },
    'test',
  );

const quiet = { onWarning: () => {} };

/** Every action of episodes of these lengths, row-major. */
const actions = (lengths: readonly number[]): number[] =>
  lengths.flatMap((length, episode) =>
    Array.from({ length }, (_, frame) => [0, 1].map((i) => -valueAt(episode, frame, i))).flat(),
  );

test('a v2.1 dataset without quantiles: computed from the frames, loaded or streamed', async () => {
  const root = makeV21Dataset([4, 6]);
  const expected = computeStats(Float32Array.from(actions([4, 6])), [2], 10);
  const loaded = await LeRobotDataset.open({ root, ...quiet });
  const streamed = await StreamingDataset.open({ root, seed: 1, keys: ['action'], ...quiet });
  for (const dataset of [loaded, streamed]) {
    expect(dataset.stats.action?.q01).toBeUndefined();
    const { stats, computed } = await policyStats(policyOf(), dataset.stats, [dataset]);
    expect(stats.action).toEqual(expected);
    expect(computed).toEqual([
      'observation.state (QUANTILES needs q01, q99)',
      'action (QUANTILES needs q01, q99)',
    ]);
    expect(() => makeProcessors(policyOf(), statTensors(stats))).not.toThrow();
  }
});

test('what a dataset has is kept as it is', async () => {
  const dataset = await LeRobotDataset.open({ root: makeDataset([3, 4]) });
  const { stats, computed } = await policyStats(policyOf(), dataset.stats, [dataset]);
  expect([stats, computed]).toEqual([dataset.stats, []]);
  const meanStd = { normalization_mapping: { VISUAL: 'IDENTITY', STATE: 'MEAN_STD', ACTION: 'MEAN_STD' } };
  const old = await LeRobotDataset.open({ root: makeV21Dataset([3]), ...quiet });
  expect((await policyStats(policyOf(meanStd), old.stats, [old])).computed).toEqual([]);
});

test('a mixture of which one member has no quantiles, and a dataset without statistics', async () => {
  const [a, b] = [makeDataset([3, 4]), makeDataset([5])];
  const strip = (json: Record<string, unknown>): void => {
    for (const feature of Object.values(json as DatasetStats)) delete feature.q01;
  };
  editJson(join(a, 'meta/stats.json'), strip);
  const members = await Promise.all(
    [a, b].map((root) => LeRobotDataset.open({ root, keys: ['action', 'observation.state'] })),
  );
  const mixture = new MultiDataset(
    members.map((dataset) => ({ dataset })),
    () => {},
  );
  const { stats } = await policyStats(policyOf(), mixture.stats, mixture.members);
  expect(stats.action!.count).toBe(12);
  expect(stats.action!.q01![0]).toBeCloseTo(stats.action!.min[0]!, 6);
  const { stats: whole } = await policyStats(policyOf(), {}, [members[0]!]);
  expect(whole.action!.max.map((x) => x + 0)).toEqual([0, -0.25]);
});

test('relative actions: statistics of the chunks minus the state, excluded joints absolute', async () => {
  const dataset = await LeRobotDataset.open({ root: makeDataset([3]) });
  const policy = policyOf({
    use_relative_actions: true,
    relative_exclude_joints: ['gripper'],
    action_feature_names: ['arm', 'gripper'],
  });
  const { stats, computed } = await policyStats(policy, dataset.stats, [dataset]);
  expect(computed).toEqual(['action (relative to the state)']);
  // Frames 0, 1, 2 with chunks of two: arm −(t + k) − t, gripper −(t + k) − 1/4.
  expect(stats.action).toMatchObject({ count: 5, min: [-4, -2.25] });
  expect(stats.action!.max.map((x) => x + 0)).toEqual([0, -0.25]);
});
