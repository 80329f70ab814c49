import { rmSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { expectCraftError, makeDataset, makeV21Dataset, valueAt } from '../../test/datasets.js';
import { LeRobotDataset } from './dataset.js';
import { featureTable, formatFeatureTable } from './dataset-info.js';
import { type AbsoluteIndex, absoluteIndex, type SubsetIndex, subsetIndex } from './indices.js';

const rows = (dataset: LeRobotDataset): SubsetIndex[] =>
  Array.from({ length: dataset.length }, (_, i) => subsetIndex(i));

describe('LeRobotDataset', () => {
  it('assembles batches: one array per key, bookkeeping as scalars', async () => {
    const dataset = await LeRobotDataset.open({ root: makeDataset([4, 5]) });
    const { columns, tasks } = dataset.batch([subsetIndex(6), subsetIndex(0)]);
    expect(columns['observation.state']).toEqual({
      data: Float32Array.from([1002, 1002.25, 1002.5, 0, 0.25, 0.5]),
      shape: [2, 3],
      dtype: 'float32',
    });
    expect(columns['next.done']).toEqual({ data: Uint8Array.from([0, 0]), shape: [2, 1], dtype: 'bool' });
    expect(columns.index).toEqual({ data: BigInt64Array.from([6n, 0n]), shape: [2], dtype: 'int64' });
    expect(columns.episode_index!.data).toEqual(BigInt64Array.from([1n, 0n]));
    expect(columns.timestamp!.data).toEqual(Float32Array.from([0.2, 0]));
    expect(tasks).toEqual(['pull', 'push']);
  });

  it('gives one frame without the batch dimension', async () => {
    const dataset = await LeRobotDataset.open({
      root: makeDataset([4]),
      deltaTimestamps: { action: [0, 0.1] },
    });
    const { columns, task } = dataset.item(subsetIndex(3));
    expect(columns.action).toEqual({
      data: Float32Array.from([-3, -3.25, -3, -3.25]),
      shape: [2, 2],
      dtype: 'float32',
    });
    expect(columns.action_is_pad).toEqual({ data: Uint8Array.from([0, 1]), shape: [2], dtype: 'bool' });
    expect(columns.frame_index!.shape).toEqual([]);
    expect(task).toBe('push');
  });

  it.each([
    ['v2.1', makeV21Dataset],
    ['v3.0', makeDataset],
  ])('%s: windows over any episode subset equal those of the full dataset', async (_, make) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }).chain((lengths) =>
          fc.record({
            lengths: fc.constant(lengths),
            episodes: fc.shuffledSubarray(
              lengths.map((_, i) => i),
              { minLength: 1 },
            ),
          }),
        ),
        fc.array(fc.integer({ min: -12, max: 12 }), { minLength: 1, maxLength: 6 }),
        async ({ lengths, episodes }, offsets) => {
          const root = make(lengths);
          const deltaTimestamps = { action: offsets.map((o) => o / 10), 'observation.state': [-0.1, 0] };
          const subset = await LeRobotDataset.open({ root, episodes, deltaTimestamps });
          const { columns } = subset.batch(rows(subset));
          const expected: number[] = [];
          const expectedPad: number[] = [];
          const absolute: bigint[] = [];
          let start = 0;
          lengths.forEach((length, episode) => {
            for (let frame = 0; frame < length && episodes.includes(episode); frame++) {
              absolute.push(BigInt(start + frame));
              for (const offset of offsets) {
                const clamped = Math.min(Math.max(frame + offset, 0), length - 1);
                expected.push(-valueAt(episode, clamped, 0), -valueAt(episode, clamped, 1));
                expectedPad.push(clamped === frame + offset ? 0 : 1);
              }
            }
            start += length;
          });
          expect(columns.action!.shape).toEqual([subset.length, offsets.length, 2]);
          expect(columns.action!.data).toEqual(Float32Array.from(expected));
          expect(columns.action_is_pad!.data).toEqual(Uint8Array.from(expectedPad));
          expect(columns.index!.data).toEqual(BigInt64Array.from(absolute));

          // The same frames of the whole dataset, found through their absolute index.
          const full = await LeRobotDataset.open({ root, deltaTimestamps });
          const same = full.batch(rows(subset).map((row) => full.toSubset(subset.toAbsolute(row))));
          expect(same.columns).toEqual(columns);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('keeps the two kinds of index apart', async () => {
    expectTypeOf<AbsoluteIndex>().not.toExtend<SubsetIndex>();
    expectTypeOf<SubsetIndex>().not.toExtend<AbsoluteIndex>();
    expectTypeOf<number>().not.toExtend<SubsetIndex>();
    const dataset = await LeRobotDataset.open({ root: makeDataset([3, 4, 5]), episodes: [2, 0] });
    expect(dataset.episodes.map((span) => span.episodeIndex)).toEqual([0, 2]);
    expect(dataset.toAbsolute(subsetIndex(3))).toBe(7);
    expect(dataset.toSubset(absoluteIndex(7))).toBe(3);
    await expectCraftError(
      () => dataset.toSubset(absoluteIndex(3)),
      'DATASET_INDEX',
      'none of the loaded episodes',
    );
    await expectCraftError(() => dataset.toAbsolute(subsetIndex(8)), 'DATASET_INDEX', 'outside the 8 loaded');
    await expectCraftError(() => dataset.batch([subsetIndex(8)]), 'DATASET_INDEX');
    await expectCraftError(() => subsetIndex(-1), 'DATASET_INDEX');
    await expectCraftError(() => absoluteIndex(0.5), 'DATASET_INDEX');
  });

  it('touches only the files of the chosen episodes', async () => {
    const dataset = await LeRobotDataset.open({ root: makeV21Dataset([3, 4, 5], [1]), episodes: [1] });
    expect(dataset.length).toBe(4);
    const root = makeDataset([3, 4, 5], { dataFilesSizeInMb: 1e-4 });
    rmSync(join(root, 'data/chunk-000/file-000.parquet'));
    expect((await LeRobotDataset.open({ root, episodes: [1, 2] })).length).toBe(9);
    await expectCraftError(
      () => LeRobotDataset.open({ root }),
      'DATASET_FILE_MISSING',
      'data/chunk-000/file-000.parquet',
      'leave out episode 0',
    );
  });

  it('refuses episodes that do not exist or are given twice', async () => {
    const root = makeDataset([3, 4]);
    const open = (episodes: number[]) => () => LeRobotDataset.open({ root, episodes });
    await expectCraftError(open([2]), 'DATASET_EPISODES', 'no episode 2', '0 to 1');
    await expectCraftError(open([1, 1]), 'DATASET_EPISODES', 'episode 1 is chosen twice');
    await expectCraftError(open([]), 'DATASET_EPISODES', 'no episodes');
  });

  it('refuses deltas that are not multiples of 1/fps, within the tolerance', async () => {
    const root = makeDataset([3]);
    const open = (action: number[], toleranceS?: number) => () =>
      LeRobotDataset.open({ root, deltaTimestamps: { action }, toleranceS });
    await expectCraftError(open([0, 0.15]), 'DATASET_DELTA', '"action"', '0.15 s', '1/10');
    await expectCraftError(open([0.1002]), 'DATASET_DELTA');
    await expectCraftError(open([]), 'DATASET_DELTA', 'empty');
    await expectCraftError(open([Number.NaN]), 'DATASET_DELTA');
    expect((await open([0.1002], 1e-3)()).deltaOffsets.get('action')).toEqual(Int32Array.of(1));
  });

  it('loads only the wanted keys and never a camera', async () => {
    const root = makeV21Dataset([3]);
    const dataset = await LeRobotDataset.open({ root, keys: ['action'] });
    expect([...dataset.columns.keys()]).toEqual([
      'action',
      'timestamp',
      'frame_index',
      'episode_index',
      'index',
      'task_index',
    ]);
    const open = (keys: string[]) => () => LeRobotDataset.open({ root, keys });
    await expectCraftError(open(['observation.images.top']), 'DATASET_KEY', 'dtype video');
    await expectCraftError(open(['actions']), 'DATASET_KEY', '"actions"', 'observation.state, action');
    await expectCraftError(
      () => LeRobotDataset.open({ root, keys: ['action'], deltaTimestamps: { 'observation.state': [0] } }),
      'DATASET_KEY',
      'not among the loaded keys',
    );
  });

  describe('renameMap', () => {
    const root = (): string => makeDataset([3, 4], { keys: { state: 'state', action: 'actions' } });
    const renameMap = { state: 'observation.state', actions: 'action' };

    it('renames columns, features, statistics and deltas alike', async () => {
      const dataset = await LeRobotDataset.open({
        root: root(),
        renameMap,
        deltaTimestamps: { action: [0, 0.1] },
      });
      const keys = ['observation.state', 'action', 'next.done'];
      expect(Object.keys(dataset.features).slice(0, 3)).toEqual(keys);
      expect([...dataset.columns.keys()].slice(0, 3)).toEqual(keys);
      expect(Object.keys(dataset.stats).slice(0, 3)).toEqual(keys);
      expect(dataset.features.action!.datasetKey).toBe('actions');
      expect(dataset.batch([subsetIndex(0)]).columns.action!.shape).toEqual([1, 2, 2]);
      expect(featureTable(dataset, ['observation.state', 'action'])).toEqual([
        { datasetKey: 'state', dtype: 'float32', shape: [3], policyKey: 'observation.state' },
        { datasetKey: 'actions', dtype: 'float32', shape: [2], policyKey: 'action' },
        { datasetKey: 'next.done', dtype: 'bool', shape: [1], policyKey: 'not used' },
      ]);
      expect(formatFeatureTable(featureTable(dataset))[1]).toBe(
        'state        float32  [3]    observation.state',
      );
    });

    it('may swap names', async () => {
      const dataset = await LeRobotDataset.open({
        root: root(),
        renameMap: { state: 'actions', actions: 'state' },
      });
      expect(dataset.columns.get('actions')!.width).toBe(3);
    });

    it('refuses collisions, unknown and reserved keys', async () => {
      const folder = root();
      const open = (map: Record<string, string>) => () =>
        LeRobotDataset.open({ root: folder, renameMap: map });
      await expectCraftError(open({ stat: 'x' }), 'DATASET_RENAME', '"stat"', 'state, actions, next.done');
      await expectCraftError(open({ state: 'actions' }), 'DATASET_RENAME', '"state" and "actions"');
      await expectCraftError(
        open({ state: 'x', actions: 'x' }),
        'DATASET_RENAME',
        'would both be called "x"',
      );
      await expectCraftError(open({ index: 'x' }), 'DATASET_RENAME', 'reserved');
      await expectCraftError(open({ state: 'timestamp' }), 'DATASET_RENAME', 'reserved');
    });
  });
});
