import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectCraftError } from '../../test/datasets.js';
import { absoluteIndex, type EpisodeSpan, subsetIndex } from './indices.js';
import { EpisodeAwareSampler, RandomSampler } from './samplers.js';

const sorted = (values: Iterable<number>): number[] => [...values].sort((a, b) => a - b);

function spans(lengths: readonly number[]): EpisodeSpan[] {
  let start = 0;
  return lengths.map((length, episodeIndex) => {
    const span = {
      episodeIndex,
      start: subsetIndex(start),
      end: start + length,
      absoluteStart: absoluteIndex(start),
    };
    start += length;
    return span;
  });
}

describe('RandomSampler', () => {
  it('has a fixed order, which checkpoints rely on', () => {
    const sampler = new RandomSampler({ length: 10 }, { seed: 1000 });
    expect([...sampler.epochOrder(0)]).toEqual([9, 8, 7, 6, 0, 5, 2, 3, 4, 1]);
    expect([...sampler.epochOrder(1)]).toEqual([2, 5, 3, 8, 6, 9, 1, 0, 4, 7]);
  });

  it('batches are the epochs laid end to end, whatever the order of asking', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 90 }),
        fc.maxSafeInteger(),
        fc.boolean(),
        (length, batchSize, seed, shuffle) => {
          const sampler = new RandomSampler({ length }, { seed, shuffle });
          const steps = 12;
          const sequence: number[] = [];
          for (let epoch = 0; sequence.length < steps * batchSize; epoch++)
            sequence.push(...sampler.epochOrder(epoch));
          for (let step = steps - 1; step >= 0; step--) {
            const fresh = new RandomSampler({ length }, { seed, shuffle });
            const expected = sequence.slice(step * batchSize, (step + 1) * batchSize);
            expect(fresh.batchIndices(step, batchSize)).toEqual(expected);
            expect(sampler.batchIndices(step, batchSize)).toEqual(expected);
          }
          for (const epoch of [0, 1, 5])
            expect(sorted(sampler.epochOrder(epoch))).toEqual(sorted(sequence.slice(0, length)));
        },
      ),
    );
  });

  it('is uniform: every frame is equally often at every place', () => {
    const counts = Array.from({ length: 6 }, () => new Array<number>(6).fill(0));
    const epochs = 6000;
    const sampler = new RandomSampler({ length: 6 }, { seed: 3 });
    for (let epoch = 0; epoch < epochs; epoch++)
      for (const [place, frame] of sampler.epochOrder(epoch).entries()) counts[place]![frame]!++;
    // Standard deviation of a count is 29.
    for (const row of counts) for (const count of row) expect(Math.abs(count - epochs / 6)).toBeLessThan(150);
  });

  it('differs between seeds and epochs', () => {
    const order = (seed: number, epoch: number): string =>
      new RandomSampler({ length: 30 }, { seed }).epochOrder(epoch).join();
    expect(new Set([order(0, 0), order(0, 1), order(1, 0), order(1, 1), order(-1, 0)]).size).toBe(5);
  });

  it('refuses nonsense', async () => {
    const sampler = new RandomSampler({ length: 3 }, { seed: 0 });
    await expectCraftError(() => new RandomSampler({ length: 0 }, { seed: 0 }), 'SAMPLER_EMPTY');
    await expectCraftError(() => new RandomSampler({ length: 3 }, { seed: 0.5 }), 'SAMPLER_SEED');
    await expectCraftError(() => sampler.batchIndices(-1, 2), 'SAMPLER_STEP');
    await expectCraftError(() => sampler.batchIndices(0, 0), 'SAMPLER_BATCH_SIZE');
  });
});

describe('EpisodeAwareSampler', () => {
  it('leaves out frames at both ends of every episode', () => {
    const dataset = { episodes: spans([5, 2, 4]) };
    const sampler = new EpisodeAwareSampler(dataset, {
      seed: 0,
      drop_n_first_frames: 1,
      drop_n_last_frames: 2,
    });
    expect([...sampler.epochOrder(0)]).toEqual([1, 2, 8]);
    expect(sampler.batchIndices(1, 2)).toEqual([8, 1]);
    const shuffled = new EpisodeAwareSampler(dataset, { seed: 0, drop_n_last_frames: 1, shuffle: true });
    expect(sorted(shuffled.epochOrder(4))).toEqual([0, 1, 2, 3, 5, 7, 8, 9]);
  });

  it('refuses to have nothing left', async () => {
    const dataset = { episodes: spans([2, 2]) };
    await expectCraftError(
      () => new EpisodeAwareSampler(dataset, { seed: 0, drop_n_last_frames: 2 }),
      'SAMPLER_EMPTY',
    );
    await expectCraftError(
      () => new EpisodeAwareSampler(dataset, { seed: 0, drop_n_first_frames: -1 }),
      'SAMPLER_DROP',
    );
  });
});
