import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editJson, expectCraftError, makeDataset } from '../../test/datasets.js';
import { LeRobotDataset } from './dataset.js';
import { subsetIndex } from './indices.js';
import { apportion, MixtureSampler, MultiDataset } from './mixture.js';

const action = { action: [0, 0.1, 0.2] };

async function open(
  repoId: string,
  lengths: readonly number[],
  options: object = {},
): Promise<LeRobotDataset> {
  return LeRobotDataset.open({ root: makeDataset(lengths), repoId, deltaTimestamps: action, ...options });
}

describe('MultiDataset', () => {
  it('batches frames of several datasets as each would give them', async () => {
    const [a, b] = [await open('a', [3, 4]), await open('b', [5])];
    const mixture = new MultiDataset([{ dataset: b }, { dataset: a }]);
    expect(mixture.names).toEqual(['a', 'b']);
    expect(mixture.length).toBe(12);
    const { columns, tasks } = mixture.batch([11, 0, 6, 7].map(subsetIndex));
    const alone = [
      b.item(subsetIndex(4)),
      a.item(subsetIndex(0)),
      a.item(subsetIndex(6)),
      b.item(subsetIndex(0)),
    ];
    for (const key of ['observation.state', 'action', 'action_is_pad', 'next.done', 'index', 'timestamp']) {
      expect(columns[key]!.shape).toEqual([4, ...alone[0]!.columns[key]!.shape]);
      expect([...columns[key]!.data]).toEqual(alone.flatMap((item) => [...item.columns[key]!.data]));
    }
    expect([...columns.dataset_index!.data]).toEqual([1n, 0n, 0n, 1n]);
    expect(tasks).toEqual(['push', 'push', 'pull', 'push']);
    expect(mixture.tasks).toEqual(['pull', 'push']);
    expect([...columns.task_index!.data]).toEqual([1n, 1n, 0n, 1n]);
    expect(() => mixture.batch([subsetIndex(12)])).toThrow(/row 12 is outside the 12 frames/);
  });

  it('aggregates statistics over all frames', async () => {
    const [a, b] = [await open('a', [3]), await open('b', [6])];
    const { stats } = new MultiDataset([{ dataset: a }, { dataset: b }]);
    expect(stats.action!.count).toBe(9);
    expect(stats['observation.state']!.mean[0]).toBeCloseTo((3 * 1 + 6 * 2.5) / 9, 9);
  });

  it('names the dataset and the key that differ', async () => {
    const a = await open('a', [3]);
    const make = (dataset: LeRobotDataset) => () => new MultiDataset([{ dataset: a }, { dataset }]);
    const renamed = await open('b', [3], { renameMap: { 'observation.state': 'pose' } });
    await expectCraftError(make(renamed), 'MIXTURE_FEATURE', 'b: "observation.state" is missing, a has it');
    const windowed = await open('c', [3], { deltaTimestamps: { action: [0] } });
    await expectCraftError(make(windowed), 'MIXTURE_FEATURE', 'c: "action" has the window [0]');
    const root = makeDataset([3]);
    editJson(`${root}/meta/info.json`, (info) => {
      (info.features as Record<string, { dtype: string }>).action!.dtype = 'float64';
    });
    const wide = await LeRobotDataset.open({ root, repoId: 'd', deltaTimestamps: action });
    await expectCraftError(make(wide), 'MIXTURE_FEATURE', 'd: "action" is float64 [2], in a it is float32');
    await expectCraftError(make(a), 'MIXTURE_NAME', 'a: is in the mixture twice');
    const b = await open('b', [2]);
    await expectCraftError(
      () => new MultiDataset([{ dataset: a, weight: 1 }, { dataset: b }]),
      'MIXTURE_WEIGHT',
      'b: has no weight',
    );
    await expectCraftError(
      () =>
        new MultiDataset([
          { dataset: a, weight: 1 },
          { dataset: b, weight: 0 },
        ]),
      'MIXTURE_WEIGHT',
      'b: weight must be',
    );
    await expectCraftError(() => new MultiDataset([]), 'MIXTURE_EMPTY');
  });
});

describe('MixtureSampler', () => {
  it('draws by weight, each member evenly, the same whatever the order of members', async () => {
    const [a, b] = [await open('a', [10, 9]), await open('b', [40])];
    const members = [
      { dataset: a, weight: 3 },
      { dataset: b, weight: 1 },
    ];
    const sampler = new MixtureSampler(new MultiDataset(members), { seed: 5 });
    const reverse = new MixtureSampler(new MultiDataset([...members].reverse()), { seed: 5 });
    expect(sampler.quotas).toEqual([3072, 1024]);
    const drawn = Array.from({ length: 512 }, (_, step) => sampler.batchIndices(step, 16)).flat();
    expect(Array.from({ length: 512 }, (_, step) => reverse.batchIndices(step, 16)).flat()).toEqual(drawn);
    const counts = new Map<number, number>();
    for (const row of drawn) counts.set(row, (counts.get(row) ?? 0) + 1);
    const [ofA, ofB] = [
      [0, 19],
      [19, 59],
    ].map(([from, to]) => Array.from({ length: to! - from! }, (_, i) => counts.get(from! + i) ?? 0));
    expect(ofA!.reduce((x, y) => x + y, 0)).toBe(6144);
    for (const of of [ofA!, ofB!]) expect(Math.max(...of) - Math.min(...of)).toBeLessThanOrEqual(1);
    expect(new MixtureSampler(new MultiDataset(members), { seed: 6 }).batchIndices(0, 16)).not.toEqual(
      drawn.slice(0, 16),
    );
    expect(sampler.length).toBe(59);
  });

  it('a batch is a function of the step alone, and batches are slices of one sequence', async () => {
    const mixture = new MultiDataset([
      { dataset: await open('a', [7]) },
      { dataset: await open('b', [3, 4]) },
    ]);
    const sequence = new MixtureSampler(mixture, { seed: 1 }).batchIndices(0, 9000);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.nat(150), (size, step) => {
        const fresh = new MixtureSampler(mixture, { seed: 1 });
        expect(fresh.batchIndices(step, size)).toEqual(sequence.slice(step * size, (step + 1) * size));
      }),
      { numRuns: 20 },
    );
    expect(() => new MixtureSampler(mixture, { seed: 0.5 })).toThrow(/seed/);
    expect(() => new MixtureSampler(mixture, { seed: 0 }).batchIndices(-1, 2)).toThrow(/step/);
  });

  it('apportions all draws in proportion', () => {
    const weights = fc.array(fc.double({ min: 1e-6, max: 1, noNaN: true }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(weights, (given) => {
        const sum = given.reduce((a, b) => a + b, 0);
        const quotas = apportion(
          given.map((weight) => weight / sum),
          4096,
        );
        expect(quotas.reduce((a, b) => a + b, 0)).toBe(4096);
        quotas.forEach((quota, i) => {
          expect(quota).toBeGreaterThanOrEqual(1);
          expect(Math.abs(quota - (4096 * given[i]!) / sum)).toBeLessThanOrEqual(given.length);
        });
      }),
    );
  });
});
