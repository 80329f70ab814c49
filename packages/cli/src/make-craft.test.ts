import { expect, test } from 'vitest';
import { sharedRecordings } from './make-craft.js';
import type { CraftTrainConfig } from './train-config.js';

const shared = (anchors: number[] | null, episodes: number[] | null, excluded: number[] | null = null) =>
  sharedRecordings({
    craft: {
      enabled: true,
      anchor_cache_dir: '',
      anchor_dataset_path: './data/both',
      anchor_dataset_root: null,
      anchor_episodes: anchors,
    },
    dataset: { repo_id: 'me/both', root: 'data/both', episodes, exclude_episodes: excluded },
  } as CraftTrainConfig);

test('recordings that are both learned and anchors are pointed out', () => {
  expect(shared([0, 1], [1, 2])).toContain('episodes [1] of');
  expect(shared([0, 1], null)).toContain('episodes [0,1] of');
  expect(shared(null, [3])).toContain('episodes [3] of');
  expect(shared(null, null)).toContain('all episodes');
});

test('nothing is said where they are apart', () => {
  expect(shared([0, 1], [2, 3])).toBe(null);
  expect(shared([0, 1], null, [0, 1])).toBe(null);
});
