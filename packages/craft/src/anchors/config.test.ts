import { expect, test } from 'vitest';
import { craftConfigSchema, validateCraft } from '../config.js';

const problems = (fields: object) =>
  validateCraft(craftConfigSchema.parse(fields)).map(({ field }) => field.replace('craft.', ''));
const dataset = { enabled: true, anchor_dataset_path: 'user/old' };
const cache = { enabled: true, anchor_cache_dir: 'anchors' };

test('exactly one source', () => {
  expect(problems({})).toEqual([]);
  expect(problems(dataset)).toEqual([]);
  expect(problems(cache)).toEqual([]);
  expect(problems({ enabled: true })).toEqual(['anchor_dataset_path']);
  expect(problems({ ...dataset, ...cache })).toEqual(['anchor_cache_dir']);
  expect(problems({ ...cache, anchor_episodes: [1] })).toEqual(['anchor_episodes']);
  expect(problems({ ...cache, anchor_mixture: [{ repo_id: 'a/b' }] })).toEqual(['anchor_mixture']);
  expect(problems({ anchor_dataset_root: 'x' })).toEqual(['anchor_dataset_path']);
});

test('one way to say how much, and how often', () => {
  expect(problems({ ...cache, anchor_num_frames: 5, anchor_num_episodes: 2 })).toEqual([]);
  expect(problems({ ...dataset, anchor_num_frames: 5, anchor_fraction: 0.5 })).toEqual(['anchor_fraction']);
  expect(problems({ ...dataset, anchor_num_episodes: 5, anchor_episode_fraction: 0.5 })).toEqual([
    'anchor_episode_fraction',
  ]);
  const mixture = (weight: number) => ({
    ...dataset,
    anchor_mixture: [{ repo_id: 'a/b', weight }],
    anchor_balance_tasks: true,
  });
  expect(problems(mixture(1))).toEqual([]);
  expect(problems(mixture(2))).toEqual(['anchor_balance_tasks']);
  for (const wrong of [
    { anchor_fraction: 0 },
    { anchor_fraction: 1.1 },
    { anchor_num_frames: 0 },
    { anchor_mixture: [] },
  ])
    expect(craftConfigSchema.safeParse({ ...dataset, ...wrong }).success).toBe(false);
});
