import { expect, test } from 'vitest';
import { type AnchorFields, sharedRecordings } from './of-run.js';

const shared = (anchors: number[] | null, episodes: number[] | null, excluded: number[] | null = null) =>
  sharedRecordings(
    {
      anchor_cache_dir: '',
      anchor_dataset_path: './data/both',
      anchor_dataset_root: null,
      anchor_episodes: anchors,
    } as AnchorFields,
    { dataset: { repo_id: 'me/both', root: 'data/both', episodes, exclude_episodes: excluded } } as never,
    'replay',
  );

test('recordings that are both learned and anchors are pointed out', () => {
  expect(shared([0, 1], [1, 2])[0]).toContain('episodes [1] of');
  expect(shared([0, 1], null)[0]).toContain('episodes [0,1] of');
  expect(shared(null, [3])[0]).toContain('episodes [3] of');
  expect(shared(null, null)[0]).toContain('all episodes');
});

test('nothing is said where they are apart', () => {
  expect(shared([0, 1], [2, 3])).toEqual([]);
  expect(shared([0, 1], null, [0, 1])).toEqual([]);
});
