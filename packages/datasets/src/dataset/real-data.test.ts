import { join } from 'node:path';
import { parquetMetadata } from 'hyparquet';
import { describe, expect, it } from 'vitest';
import { shared, sharedPath } from '../../../torch/test/shared.js';
import { expectCraftError, makeDataset } from '../../test/datasets.js';
import { LeRobotDataset } from './dataset.js';
import { readIfPresent } from './dataset-files.js';
import { featureTable } from './dataset-info.js';
import { subsetIndex } from './indices.js';
import { LeRobotDatasetMetadata } from './metadata.js';
import { aggregateStats, computeStats, type FeatureStats, quantileNames } from './stats.js';

/** Largest difference of two sets of statistics, relative to the feature's largest magnitude. */
function difference(a: FeatureStats, b: FeatureStats): number {
  const names = (['min', 'max', 'mean', 'std', ...quantileNames] as const).filter(
    (name) => a[name] && b[name],
  );
  const scale = (i: number): number => 1e-9 + Math.max(Math.abs(b.min[i]!), Math.abs(b.max[i]!));
  return Math.max(...names.flatMap((name) => a[name]!.map((x, i) => Math.abs(x - b[name]![i]!) / scale(i))));
}

describe.skipIf(shared === null)('G1 (v2.1, only ten episodes present)', () => {
  const root = sharedPath('data/g1_yellow_bottle');
  const episodes = [10, 28, 29, 30, 31, 59, 63, 82, 88, 99];

  it('loads the chosen episodes in well under a second', async () => {
    await LeRobotDataset.open({ root, episodes: [10] });
    const start = performance.now();
    const dataset = await LeRobotDataset.open({ root, episodes });
    expect(performance.now() - start).toBeLessThan(800);
    expect(dataset.episodes.map((span) => span.episodeIndex)).toEqual(episodes);
    expect(dataset.toAbsolute(subsetIndex(0))).toBe(4236);
    expect(dataset.columns.get('observation.state')!.shape).toEqual([26]);
    expect(dataset.item(subsetIndex(dataset.length - 1)).task).toBe(
      'Pick up the yellow bottle on the table.',
    );
    expect(featureTable(dataset).map((row) => row.policyKey)).toEqual([
      'observation.state',
      'action',
      'not used',
    ]);
  });

  it('has statistics over the chosen episodes that agree with the frames', async () => {
    const dataset = await LeRobotDataset.open({ root, episodes: [28, 29] });
    for (const key of ['observation.state', 'action']) {
      const { data, shape } = dataset.columns.get(key)!;
      const stats = computeStats(data as Float32Array, shape, dataset.length);
      const { q01, q10, q50, q90, q99, ...moments } = stats;
      expect(difference(moments, dataset.stats[key]!)).toBeLessThan(1e-4);
      expect(dataset.stats[key]!.count).toBe(dataset.length);
    }
  });

  it('names the missing file of an episode that is absent', async () => {
    await expectCraftError(
      () => LeRobotDataset.open({ root, episodes: [28, 32] }),
      'DATASET_FILE_MISSING',
      'episode_000032.parquet',
      'leave out episode 32',
    );
  });

  it('finds its videos', async () => {
    const metadata = await LeRobotDatasetMetadata.load(root);
    expect(metadata.videoPath(metadata.episode(28), 'observation.images.cam_high')).toBe(
      join(root, 'videos/chunk-000/observation.images.cam_high/episode_000028.mp4'),
    );
  });
});

describe.skipIf(shared === null)('SO-101 (v3.0, without videos)', () => {
  const root = sharedPath('data/so101_orange_cube_v3');

  it('loads episode subsets', async () => {
    const dataset = await LeRobotDataset.open({
      root,
      episodes: [1, 3],
      deltaTimestamps: { action: [-1 / 30, 0] },
    });
    expect(dataset.episodes).toMatchObject([
      { episodeIndex: 1, start: 0, absoluteStart: 373 },
      { episodeIndex: 3, start: 374, absoluteStart: 1119 },
    ]);
    expect(dataset.batch([subsetIndex(374)]).columns.action_is_pad!.data).toEqual(Uint8Array.of(1, 0));
    expect(dataset.item(subsetIndex(0)).task).toBe('Pick the orange cube and place it in the box');
  });

  it('statistics computed per episode and aggregated equal the ones LeRobot wrote', async () => {
    const metadata = await LeRobotDatasetMetadata.load(root);
    const whole = await metadata.stats();
    for (const episode of [0, 1, 2, 3]) {
      const dataset = await LeRobotDataset.open({ root, episodes: [episode] });
      for (const [key, { data, shape }] of dataset.columns) {
        const values = Float64Array.from(data as ArrayLike<number>, Number);
        // LeRobot computes in float32, as mean of squares minus squared mean.
        expect(difference(computeStats(values, shape, dataset.length), dataset.stats[key]!)).toBeLessThan(
          1e-4,
        );
      }
    }
    const sets = await Promise.all([0, 1, 2, 3].map((episode) => metadata.stats([episode])));
    const aggregated = aggregateStats(sets, root, () => {});
    expect(Object.keys(aggregated).sort()).toEqual(Object.keys(whole).sort());
    for (const [key, stats] of Object.entries(aggregated)) {
      expect(stats.shape).toEqual(whole[key]!.shape);
      expect(stats.count).toBe(whole[key]!.count);
      const { q01, q10, q50, q90, q99, ...moments } = stats;
      expect(difference(moments, whole[key]!)).toBeLessThan(1e-6);
      // The LeRobot of this recording averaged the episodes' quantiles; 0.6.2, followed here, takes their envelope.
      q01!.forEach((q, i) => void expect(q).toBeLessThanOrEqual(whole[key]!.q01![i]!));
      q99!.forEach((q, i) => void expect(q).toBeGreaterThanOrEqual(whole[key]!.q99![i]!));
    }
  });

  it('the writer makes the same columns of the same types', () => {
    const made = makeDataset([3, 4]);
    const schema = (folder: string, name: string): Map<string, string> => {
      const bytes = readIfPresent(join(folder, name))!;
      const { schema: elements } = parquetMetadata(bytes.slice().buffer);
      const columns = new Map<string, string>();
      for (let i = 1; i < elements.length; i++) {
        const lines = [elements[i]!];
        while (elements[i]!.num_children) lines.push(elements[++i]!);
        columns.set(lines[0]!.name, JSON.stringify(lines));
      }
      return columns;
    };
    const compare = (name: string, left: string[] = []): void => {
      const real = schema(root, name);
      const ours = schema(made, name);
      const kept = [...real.keys()].filter((column) => !column.includes('images') && !left.includes(column));
      for (const column of kept)
        expect({ column, is: ours.get(column) }).toEqual({ column, is: real.get(column) });
      expect(kept.length).toBeGreaterThan(0);
    };
    compare('data/chunk-000/file-000.parquet');
    compare('meta/episodes/chunk-000/file-000.parquet');
    // Written by an older LeRobot, which left the name of the text column to pandas.
    compare('meta/tasks.parquet', ['__index_level_0__']);
  });
});
