import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editJson, makeDataset, makeV21Dataset, valueAt } from '../../test/datasets.js';
import { LeRobotDataset } from './dataset.js';
import { LeRobotDatasetMetadata } from './metadata.js';
import { aggregateStats, computeStats, type FeatureStats } from './stats.js';

const ignore = (): void => {};

describe('computeStats', () => {
  it('follows LeRobot for a ramp and for a constant', () => {
    const ramp = computeStats(
      Array.from({ length: 373 }, (_, i) => i),
      [1],
      373,
    );
    // Values in the metadata of a real dataset whose frame_index runs from 0 to 372.
    expect(ramp).toMatchObject({ count: 373, min: [0], max: [372], mean: [186] });
    expect(ramp.std[0]).toBeCloseTo(107.67543823918248, 10);
    expect(ramp.q01![0]).toBeCloseTo(3.030311999901629, 10);
    expect(ramp.q90![0]).toBeCloseTo(335.00088000008003, 10);
    const constant = computeStats([0, 0, 0], [1], 3);
    expect(constant.q99![0]).toBeCloseTo(3.9599999999994235e-14, 20);
    expect(computeStats([7, 8], [2], 1)).toMatchObject({ std: [0, 0], q01: [7, 8], q99: [7, 8] });
  });
});

describe('aggregateStats', () => {
  it('gives the moments of the union and the envelope of the quantiles', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.double({ min: -1e3, max: 1e3, noNaN: true }), { minLength: 2, maxLength: 20 }), {
          minLength: 1,
          maxLength: 5,
        }),
        (parts) => {
          const stats = parts.map((values) => computeStats(values, [1], values.length));
          const { x } = aggregateStats(
            stats.map((s) => ({ x: s })),
            'test',
            ignore,
          ) as { x: FeatureStats };
          const all = computeStats(parts.flat(), [1], parts.flat().length);
          for (const name of ['min', 'max', 'mean', 'std'] as const)
            expect(x[name][0]).toBeCloseTo(all[name][0]!, 6);
          expect(x.count).toBe(all.count);
          expect(x.q50![0]).toBe(Math.min(...stats.map((s) => s.q50![0]!)));
          expect(x.q90![0]).toBe(Math.max(...stats.map((s) => s.q90![0]!)));
        },
      ),
    );
  });
});

describe('statistics of a subset', () => {
  it.each([
    ['v2.1', makeV21Dataset],
    ['v3.0', makeDataset],
  ])('%s: are those of the chosen episodes', async (_, make) => {
    const dataset = await LeRobotDataset.open({ root: make([4, 6, 5]), episodes: [2, 0] });
    const values = [0, 2].flatMap((episode) =>
      Array.from({ length: episode === 0 ? 4 : 5 }, (_, frame) => valueAt(episode, frame, 1)),
    );
    const { count, min, max, mean, std } = dataset.stats['observation.state']!;
    const expected = computeStats(values, [1], 9);
    expect({ count, min: min[1], max: max[1] }).toEqual({ count: 9, min: 0.25, max: 2004.25 });
    expect(mean[1]).toBeCloseTo(expected.mean[0]!, 8);
    expect(std[1]).toBeCloseTo(expected.std[0]!, 8);
  });

  it('v3.0: stats.json serves when all episodes are chosen', async () => {
    const root = makeDataset([4, 6]);
    editJson(join(root, 'meta/stats.json'), (json) => {
      (json.action as { mean: number[] }).mean = [42, 43];
    });
    expect((await LeRobotDataset.open({ root })).stats.action!.mean).toEqual([42, 43]);
    expect((await LeRobotDataset.open({ root, episodes: [0] })).stats.action!.mean).not.toEqual([42, 43]);
  });

  it('reads NaN as Python writes it: a warning, and no statistics for that feature', async () => {
    const root = makeDataset([4]);
    const path = join(root, 'meta/stats.json');
    const bad =
      '{"action": {"min": [0, 0], "max": [NaN, 1], "mean": [0, 0], "std": [-Infinity, 1], "count": [4]}}';
    writeFileSync(path, bad);
    const warnings: string[] = [];
    const { stats } = await LeRobotDataset.open({ root, onWarning: (message) => warnings.push(message) });
    expect(stats).toEqual({});
    expect(warnings).toEqual([expect.stringContaining('stats.json: max of "action" is NaN or infinite')]);
  });

  it('says when there are none', async () => {
    const root = makeV21Dataset([4]);
    rmSync(join(root, 'meta/episodes_stats.jsonl'));
    const warnings: string[] = [];
    const metadata = await LeRobotDatasetMetadata.load(root, {
      onWarning: (message) => warnings.push(message),
    });
    expect(await metadata.stats()).toEqual({});
    expect(warnings).toEqual([expect.stringContaining('no statistics')]);
  });
});
