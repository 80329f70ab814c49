import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectCraftError, makeDataset, readParquet, temporaryFolder } from '../../test/datasets.js';
import { LeRobotDataset } from '../dataset/dataset.js';
import { subsetIndex } from '../dataset/indices.js';
import { LeRobotDatasetWriter } from './writer.js';

const features = { action: { dtype: 'float32', shape: [2] } };

describe('LeRobotDatasetWriter', () => {
  it('writes what it was given, in every dtype and shape (property)', async () => {
    const int = (bits: number, signed: boolean): fc.Arbitrary<number> =>
      signed
        ? fc.integer({ min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 })
        : fc.integer({ min: 0, max: 2 ** bits - 1 });
    const values: Record<string, fc.Arbitrary<number | bigint>> = {
      float32: fc.float({ noNaN: true, noDefaultInfinity: true }),
      float64: fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e100, max: 1e100 }),
      int8: int(8, true),
      uint8: int(8, false),
      int16: int(16, true),
      int32: int(32, true),
      int64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      bool: fc.integer({ min: 0, max: 1 }),
    };
    const feature = fc.record({
      dtype: fc.constantFrom(...Object.keys(values)),
      shape: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 3 }),
    });
    const dataset = fc
      .record({
        features: fc.array(feature, { minLength: 1, maxLength: 3 }),
        lengths: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 }),
      })
      .chain(({ features, lengths }) => {
        const rows = lengths.reduce((a, b) => a + b, 0);
        const columns = features.map(({ dtype, shape }) => {
          const size = rows * shape.reduce((a, b) => a * b, 1);
          return fc.array(values[dtype]!, { minLength: size, maxLength: size });
        });
        return fc.record({
          features: fc.constant(features),
          lengths: fc.constant(lengths),
          columns: fc.tuple(...columns),
        });
      });
    await fc.assert(
      fc.asyncProperty(dataset, async ({ features, lengths, columns }) => {
        const root = temporaryFolder();
        const named = Object.fromEntries(features.map((f, i) => [`f${i}`, f]));
        const writer = LeRobotDatasetWriter.create({
          root,
          fps: 30,
          features: named,
          dataFilesSizeInMb: 1e-4,
        });
        let row = 0;
        for (const length of lengths) {
          for (let frame = 0; frame < length; frame++, row++) {
            const entries = features.map(({ shape }, i) => {
              const width = shape.reduce((a, b) => a * b, 1);
              return [`f${i}`, columns[i]!.slice(row * width, (row + 1) * width) as number[]];
            });
            writer.addFrame({ ...Object.fromEntries(entries), task: `task ${length}` });
          }
          writer.saveEpisode();
        }
        writer.finalize();
        const read = await LeRobotDataset.open({ root });
        expect(read.episodes.map(({ start, end }) => end - start)).toEqual(lengths);
        features.forEach(({ dtype, shape }, i) => {
          const column = read.columns.get(`f${i}`)!;
          expect(column).toMatchObject({ dtype, shape });
          // Zero and minus zero are the same value to Parquet's dictionaries.
          expect(Array.from(column.data as ArrayLike<number>, (x) => (x === 0 ? 0 : x))).toEqual(
            columns[i]!.map((x) => (x === 0 ? 0 : x)),
          );
        });
        expect(read.item(subsetIndex(read.length - 1)).task).toBe(`task ${lengths.at(-1)}`);
      }),
      { numRuns: 40 },
    );
  });

  it('lays files out as LeRobot does and leaves no temporary file', async () => {
    const root = makeDataset([3, 4, 5]);
    const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) =>
      /\.\w+$/.test(name),
    );
    expect(files.sort()).toEqual([
      'data/chunk-000/file-000.parquet',
      'meta/episodes/chunk-000/file-000.parquet',
      'meta/info.json',
      'meta/stats.json',
      'meta/tasks.parquet',
    ]);
    expect(JSON.parse(readFileSync(join(root, 'meta/info.json'), 'utf8'))).toMatchObject({
      codebase_version: 'v3.0',
      robot_type: 'test',
      total_episodes: 3,
      total_frames: 12,
      total_tasks: 2,
      fps: 10,
      splits: { train: '0:3' },
      features: {
        action: { dtype: 'float32', shape: [2], names: null },
        index: { dtype: 'int64', shape: [1], names: null },
      },
    });
    expect(await readParquet(join(root, 'meta/tasks.parquet'))).toEqual([
      { task_index: 0n, task: 'push' },
      { task_index: 1n, task: 'pull' },
    ]);
    const [, second] = await readParquet(join(root, 'meta/episodes/chunk-000/file-000.parquet'));
    expect(second).toMatchObject({
      episode_index: 1n,
      tasks: ['pull'],
      length: 4n,
      'data/chunk_index': 0n,
      'data/file_index': 0n,
      dataset_from_index: 3n,
      dataset_to_index: 7n,
      'stats/frame_index/min': [0n],
      'stats/frame_index/mean': [1.5],
      'stats/action/count': [4n],
      'meta/episodes/file_index': 0n,
    });
  });

  it('begins new files and folders at the size limit', async () => {
    const root = temporaryFolder();
    const writer = LeRobotDatasetWriter.create({
      root,
      fps: 10,
      features,
      dataFilesSizeInMb: 1e-6,
      chunksSize: 2,
    });
    for (let episode = 0; episode < 5; episode++) {
      writer.addFrame({ action: [episode, 0], task: 'push' });
      writer.saveEpisode();
    }
    writer.finalize();
    expect(
      readdirSync(join(root, 'data'), { recursive: true, encoding: 'utf8' })
        .filter((n) => n.endsWith('.parquet'))
        .sort(),
    ).toEqual([
      'chunk-000/file-000.parquet',
      'chunk-000/file-001.parquet',
      'chunk-001/file-000.parquet',
      'chunk-001/file-001.parquet',
      'chunk-002/file-000.parquet',
    ]);
    expect((await LeRobotDataset.open({ root, episodes: [3] })).columns.get('action')!.data).toEqual(
      Float32Array.of(3, 0),
    );
  });

  it('is a complete dataset after each episode, and none before', async () => {
    const root = temporaryFolder();
    const writer = LeRobotDatasetWriter.create({ root, fps: 10, features });
    for (let episode = 0; episode < 3; episode++) {
      writer.addFrame({ action: [episode, 0], task: 'push' });
      if (episode === 0) expect(existsSync(root)).toBe(false);
      else expect((await LeRobotDataset.open({ root })).length).toBe(episode);
      await writer.saveEpisode();
    }
    writer.finalize();
    await expectCraftError(
      () => writer.addFrame({ action: [0, 0], task: 'push' }),
      'DATASET_WRITE',
      'finalized',
    );
    await expectCraftError(
      () => LeRobotDatasetWriter.create({ root, fps: 10, features }),
      'DATASET_EXISTS',
      root,
    );
  });

  it('refuses features it cannot write', async () => {
    const create = (key: string, dtype: string, shape: number[]) => () =>
      LeRobotDatasetWriter.create({
        root: temporaryFolder(),
        fps: 10,
        features: { [key]: { dtype, shape } },
      });
    await expectCraftError(create('cam', 'audio', [4]), 'DATASET_FEATURE', '"cam"', 'dtype "audio"');
    await expectCraftError(create('a/b', 'float32', [1]), 'DATASET_FEATURE', 'without "/"');
    await expectCraftError(create('index', 'int64', [1]), 'DATASET_FEATURE', 'itself');
    await expectCraftError(create('a', 'float32', [0]), 'DATASET_FEATURE', 'shape [0]');
    await expectCraftError(
      () => LeRobotDatasetWriter.create({ root: temporaryFolder(), fps: 0.5, features }),
      'DATASET_FPS',
    );
  });

  it('refuses a wrong frame and keeps the episode as it was', async () => {
    const root = temporaryFolder();
    const writer = LeRobotDatasetWriter.create({
      root,
      fps: 10,
      features: { ...features, gear: { dtype: 'int8', shape: [1] }, done: { dtype: 'bool', shape: [1] } },
    });
    const good = { action: [1, 2], gear: 3, done: true, task: 'push' };
    writer.addFrame(good);
    const add = (wrong: object) => () => writer.addFrame({ ...good, ...wrong });
    await expectCraftError(add({ action: undefined }), 'DATASET_FRAME', 'frame 1: "action" is missing');
    await expectCraftError(add({ action: [1] }), 'DATASET_FRAME', 'has 1 values, expected 2');
    await expectCraftError(
      add({ action: [1, Number.NaN] }),
      'DATASET_FRAME',
      'NaN, expected a finite float32',
    );
    await expectCraftError(add({ action: [1, 1e300] }), 'DATASET_FRAME', 'finite float32');
    await expectCraftError(add({ gear: 128 }), 'DATASET_FRAME', '"gear" holds 128, expected an int8');
    await expectCraftError(add({ done: 2 }), 'DATASET_FRAME', 'boolean');
    await expectCraftError(add({ speed: 2 }), 'DATASET_FRAME', '"speed" is not a feature');
    await expectCraftError(add({ task: '' }), 'DATASET_FRAME', '"task"');
    await expectCraftError(() => writer.finalize(), 'DATASET_FRAME', '1 frames are not saved');
    writer.saveEpisode();
    await expectCraftError(() => writer.saveEpisode(), 'DATASET_FRAME', 'at least one frame');
    writer.finalize();
    expect((await LeRobotDataset.open({ root })).length).toBe(1);
  });
});
