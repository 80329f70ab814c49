import { rmSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectCraftError, makeDataset, makeV21Dataset } from '../../test/datasets.js';
import type { Batch } from './batch.js';
import { LeRobotDataset } from './dataset.js';
import { subsetIndex } from './indices.js';
import { StreamOrder } from './stream-order.js';
import { StreamingDataset, type StreamingDatasetOptions } from './streaming.js';

async function take(stream: StreamingDataset, size: number, count: number, first = 0): Promise<Batch[]> {
  const batches: Batch[] = [];
  for await (const batch of stream.batches(size, first)) {
    batches.push(batch);
    if (batches.length === count) break;
  }
  return batches;
}

const indices = (batches: Batch[]): number[] =>
  batches.flatMap(({ columns }) => [...columns.index!.data].map(Number));

describe('StreamOrder', () => {
  it('every epoch has every frame once, never from more files than are open', () => {
    const files = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 });
    const size = fc.integer({ min: 1, max: 12 });
    fc.assert(
      fc.property(
        files,
        size,
        fc.integer({ min: 1, max: 3 }),
        fc.boolean(),
        (rows, bufferSize, openFiles, shuffle) => {
          const order = new StreamOrder(rows, { seed: 7, shuffle, bufferSize, openFiles });
          for (let epoch = 0; epoch < 3; epoch++) {
            const seen = new Set<string>();
            const open = new Set<number>();
            for (let i = 0; i < order.length; i++) {
              const { frame, entered, finished } = order.next();
              for (const { file } of entered) open.add(file);
              for (const file of finished) open.delete(file);
              expect(open.size).toBeLessThanOrEqual(openFiles);
              expect(order.buffered.length).toBeLessThan(bufferSize);
              seen.add(`${frame.file}/${frame.row}`);
            }
            expect(seen.size).toBe(order.length);
            expect(open.size).toBe(0);
          }
        },
      ),
    );
  });

  it('seek counts to the same place', () => {
    fc.assert(
      fc.property(fc.nat(60), (position) => {
        const make = () =>
          new StreamOrder([5, 8, 3], { seed: 2, shuffle: true, bufferSize: 4, openFiles: 2 });
        const [walked, sought] = [make(), make()];
        for (let i = 0; i < position; i++) walked.next();
        sought.seek(position);
        for (let i = 0; i < 20; i++) expect(sought.next().frame).toEqual(walked.next().frame);
      }),
    );
  });
});

describe('StreamingDataset', () => {
  const windows = { deltaTimestamps: { action: [-0.1, 0, 0.1, 0.2] } };
  const open = (root: string, more: Partial<StreamingDatasetOptions> = {}) =>
    StreamingDataset.open({ root, seed: 3, bufferSize: 6, openFiles: 2, ...windows, ...more });

  it.each([
    ['v3.0, several files', () => makeDataset([5, 7, 4, 6], { dataFilesSizeInMb: 0.001 })],
    ['v2.1', () => makeV21Dataset([5, 7, 4, 6])],
  ])('%s: frames, windows and instructions are those of the loaded dataset', async (_, make) => {
    const root = make();
    const [stream, dataset] = [await open(root), await LeRobotDataset.open({ root, ...windows })];
    expect(stream.length).toBe(22);
    expect(stream.stats).toEqual(dataset.stats);
    const batches = await take(stream, 11, 4);
    expect(indices(batches.slice(0, 2)).sort((a, b) => a - b)).toEqual([...Array(22).keys()]);
    expect(indices(batches.slice(2)).sort((a, b) => a - b)).toEqual([...Array(22).keys()]);
    expect(indices(batches.slice(2))).not.toEqual(indices(batches.slice(0, 2)));
    for (const batch of batches) expect(batch).toEqual(dataset.batch(indices([batch]).map(subsetIndex)));
  });

  it('is deterministic, resumes at any step, and keeps the order without shuffling', async () => {
    const root = makeDataset([5, 7, 4, 6], { dataFilesSizeInMb: 0.001 });
    const all = await take(await open(root), 3, 20);
    expect(await take(await open(root), 3, 20)).toEqual(all);
    for (const step of [1, 4, 7, 8, 15])
      expect(await take(await open(root), 3, 2, step)).toEqual(all.slice(step, step + 2));
    expect(indices(await take(await open(root, { seed: 4 }), 3, 7))).not.toEqual(indices(all.slice(0, 7)));
    expect(indices(await take(await open(root, { shuffle: false }), 11, 2))).toEqual([...Array(22).keys()]);
  });

  it('reads only the chosen episodes', async () => {
    const root = makeV21Dataset([5, 7, 4], [0, 2]);
    const stream = await open(root, { episodes: [2, 0] });
    expect(indices(await take(stream, 9, 1)).sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 12, 13, 14, 15]);
  });

  it('errors name the file or the option', async () => {
    const root = makeV21Dataset([3, 2]);
    rmSync(join(root, 'data/chunk-000/episode_000001.parquet'));
    const stream = await open(root);
    await expectCraftError(() => take(stream, 5, 1), 'DATASET_FILE_MISSING', 'episode_000001.parquet');
    await expectCraftError(() => open(root, { bufferSize: 0 }), 'STREAM_OPTION', 'buffer_size');
    await expectCraftError(() => open(root, { keys: ['nothing'] }), 'DATASET_KEY', 'nothing');
    await expectCraftError(() => take(stream, 0, 1), 'SAMPLER_BATCH_SIZE');
  });
});
