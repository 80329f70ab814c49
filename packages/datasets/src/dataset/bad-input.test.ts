import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  editJson,
  expectCraftError,
  makeDataset,
  makeV21Dataset,
  type TestColumn,
  writeParquet,
} from '../../test/datasets.js';
import { LeRobotDataset } from './dataset.js';
import { formatPath } from './dataset-files.js';

const info = 'meta/info.json';
const dataFile = 'data/chunk-000/file-000.parquet';

const repeated = <T>(count: number, row: T): T[] => Array<T>(count).fill(row);

/** Columns of a three-frame episode of {@link makeDataset}, some replaced (undefined: left out). */
function columns(replaced: Record<string, TestColumn | undefined> = {}): Record<string, TestColumn> {
  const int64 = (...values: bigint[]): TestColumn => ['int64', 0, values];
  const all: Record<string, TestColumn | undefined> = {
    'observation.state': ['float32', 1, repeated(3, [1, 2, 3])],
    action: ['float32', 1, repeated(3, [1, 2])],
    'next.done': ['bool', 0, [false, false, true]],
    timestamp: ['float32', 0, [0, 0.1, 0.2]],
    frame_index: int64(0n, 1n, 2n),
    episode_index: int64(0n, 0n, 0n),
    index: int64(0n, 1n, 2n),
    task_index: int64(0n, 0n, 0n),
    ...replaced,
  };
  return Object.fromEntries(
    Object.entries(all).flatMap(([key, column]) => (column === undefined ? [] : [[key, column]])),
  );
}

/** Opens a one-episode dataset whose data file has these columns. */
function openWith(replaced: Record<string, TestColumn | undefined>): () => Promise<LeRobotDataset> {
  const root = makeDataset([3]);
  writeParquet(join(root, dataFile), columns(replaced));
  return () => LeRobotDataset.open({ root });
}

describe('bad info.json', () => {
  it.each([
    ['missing', undefined, 'DATASET_INFO_MISSING', 'is missing'],
    ['empty', '', 'DATASET_INFO_INVALID', 'is empty'],
    ['broken', '{"fps": ', 'DATASET_INFO_INVALID', 'not valid JSON'],
    ['not an object', '[]', 'DATASET_INFO_INVALID', 'expected object'],
  ])('%s', async (_, content, code, pattern) => {
    const root = makeDataset([3]);
    if (content === undefined) rmSync(join(root, info));
    else writeFileSync(join(root, info), content);
    await expectCraftError(() => LeRobotDataset.open({ root }), code, info, pattern);
  });

  it.each<[string, (json: Record<string, unknown>) => void, string, string]>([
    ['no fps', (json) => delete json.fps, 'DATASET_INFO_INVALID', 'field "fps"'],
    ['fps 0', (json) => Object.assign(json, { fps: 0 }), 'DATASET_INFO_INVALID', 'field "fps"'],
    [
      'a shape of text',
      (json) => Object.assign(json.features as object, { action: { dtype: 'float32', shape: ['2'] } }),
      'DATASET_INFO_INVALID',
      'features.action.shape.0',
    ],
    [
      'no task_index',
      (json) => delete (json.features as Record<string, unknown>).task_index,
      'DATASET_INFO_INVALID',
      'features."task_index"',
    ],
    ['version 1.6', (json) => Object.assign(json, { codebase_version: 'v1.6' }), 'DATASET_VERSION', 'v1.6'],
    [
      'path outside',
      (json) => Object.assign(json, { data_path: '../{file_index}.parquet' }),
      'DATASET_PATH_INVALID',
      'outside',
    ],
    [
      'absolute path',
      (json) => Object.assign(json, { data_path: '/etc/{file_index}' }),
      'DATASET_PATH_INVALID',
      'outside',
    ],
    [
      'unknown placeholder',
      (json) => Object.assign(json, { data_path: 'data/{shard}.parquet' }),
      'DATASET_PATH_INVALID',
      '{shard}',
    ],
  ])('%s', async (_, edit, code, pattern) => {
    const root = makeDataset([3]);
    editJson(join(root, info), edit);
    await expectCraftError(() => LeRobotDataset.open({ root }), code, info, pattern);
  });

  it('only warns about unknown keys and about totals that are off', async () => {
    const root = makeDataset([3]);
    editJson(join(root, info), (json) => Object.assign(json, { total_frames: 4, shiny: 1 }));
    const warnings: string[] = [];
    await LeRobotDataset.open({ root, onWarning: (message) => warnings.push(message) });
    expect(warnings).toEqual([
      expect.stringContaining('unknown keys are ignored: shiny'),
      expect.stringContaining('says 1 episodes and 4 frames, meta/episodes lists 1 and 3'),
    ]);
  });
});

describe('bad data files', () => {
  it('missing, truncated, not Parquet', async () => {
    const root = makeDataset([3]);
    const path = join(root, dataFile);
    const open = (): Promise<LeRobotDataset> => LeRobotDataset.open({ root });
    const size = readFileSync(path).length;
    for (const length of [size - 1, size >> 1, 11, 0]) {
      truncateSync(path, length);
      await expectCraftError(open, 'DATASET_FILE_INVALID', dataFile, 'truncated or not a Parquet file');
    }
    rmSync(path);
    await expectCraftError(open, 'DATASET_FILE_MISSING', dataFile);
  });

  it('a column is absent', async () => {
    await expectCraftError(
      openWith({ action: undefined }),
      'DATASET_COLUMN_MISSING',
      dataFile,
      '"action" is missing',
      'observation.state',
    );
    await expectCraftError(openWith({ index: undefined }), 'DATASET_COLUMN_MISSING', '"index"');
  });

  it.each<[string, string, TestColumn, string]>([
    ['text for floats', 'action', ['string', 0, ['a', 'b', 'c']], 'is string, info.json says list<float32>'],
    ['a scalar for a list', 'action', ['float32', 0, [1, 2, 3]], 'is float32, info.json says list<float32>'],
    [
      'integers for floats',
      'action',
      ['int64', 1, repeated(3, [1n, 2n])],
      'is list<int64>, info.json says list<float32>',
    ],
    ['floats for integers', 'frame_index', ['float64', 0, [0, 1, 2]], 'is float64, info.json says int64'],
    ['integers for booleans', 'next.done', ['int64', 0, [0n, 0n, 1n]], 'is int64, info.json says bool'],
  ])('%s', async (_, key, column, pattern) => {
    await expectCraftError(
      openWith({ [key]: column }),
      'DATASET_COLUMN_TYPE',
      dataFile,
      `column "${key}"`,
      pattern,
    );
  });

  it('another width, a null, too few rows', async () => {
    await expectCraftError(
      openWith({ action: ['float32', 1, [[1, 2], [1], [1, 2]]] }),
      'DATASET_COLUMN_WIDTH',
      dataFile,
      'column "action", episode 0, frame 1: 1 values, info.json says 2',
    );
    await expectCraftError(
      openWith({ action: ['float32', 1, [[1, 2], null, [1, 2]]] }),
      'DATASET_NULL',
      'column "action", episode 0, frame 1',
    );
    await expectCraftError(
      openWith({ timestamp: ['float32', 0, [0, 0.1, null]] }),
      'DATASET_NULL',
      'frame 2',
    );
    const short = Object.fromEntries(
      Object.entries(columns()).map(
        ([key, [dtype, depth, rows]]) => [key, [dtype, depth, rows.slice(1)]] as const,
      ),
    );
    await expectCraftError(
      openWith(short as never),
      'DATASET_ROWS',
      dataFile,
      'has 2 rows, meta/episodes says 3 for episode 0',
    );
  });

  it.each<[string, string, bigint[], string]>([
    ['frames out of order', 'frame_index', [0n, 2n, 1n], 'is 2 at frame 1 of episode 0, expected 1'],
    ['a foreign episode', 'episode_index', [0n, 0n, 1n], 'is 1 at frame 2 of episode 0, expected 0'],
    ['a shifted index', 'index', [1n, 2n, 3n], 'is 1 at frame 0 of episode 0, expected 0'],
  ])('%s', async (_, key, values, pattern) => {
    await expectCraftError(
      openWith({ [key]: ['int64', 0, values] }),
      'DATASET_ROWS',
      dataFile,
      `column "${key}"`,
      pattern,
    );
  });

  it('a task that is not listed', async () => {
    await expectCraftError(
      openWith({ task_index: ['int64', 0, [0n, 0n, 7n]] }),
      'DATASET_TASK',
      dataFile,
      'is 7 at frame 2',
    );
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('%s in the data', async (bad) => {
    await expectCraftError(
      openWith({
        action: ['float32', 1, [...repeated(2, [1, 2]), [1, bad]]],
      }),
      'DATASET_NAN',
      dataFile,
      `column "action" is ${bad} at frame 2 of episode 0, element 1`,
    );
  });

  it('accepts lists of one for scalars, and wider floats and narrower integers than declared', async () => {
    const dataset = await openWith({
      action: ['float64', 1, repeated(3, [1, 2])],
      timestamp: ['float64', 0, [0, 0.1, 0.2]],
      frame_index: ['int32', 0, [0, 1, 2]],
      task_index: ['int64', 1, [[0n], [0n], [0n]]],
    })();
    expect(dataset.columns.get('timestamp')!.data).toEqual(Float32Array.of(0, 0.1, 0.2));
    expect(dataset.columns.get('frame_index')!.data).toEqual(BigInt64Array.of(0n, 1n, 2n));
  });
});

describe('bad metadata', () => {
  it('v3.0: episodes or tasks missing', async () => {
    for (const name of ['meta/tasks.parquet', 'meta/episodes/chunk-000/file-000.parquet']) {
      const root = makeDataset([3]);
      rmSync(join(root, name));
      await expectCraftError(() => LeRobotDataset.open({ root }), 'DATASET_FILE_MISSING', name);
    }
  });

  it('v2.1: a broken line is named', async () => {
    const root = makeV21Dataset([3, 4]);
    const path = join(root, 'meta/episodes.jsonl');
    writeFileSync(path, `${readFileSync(path, 'utf8').split('\n')[0]}\n{"episode_index": 1, "len`);
    await expectCraftError(() => LeRobotDataset.open({ root }), 'DATASET_FILE_INVALID', 'episodes.jsonl:2');
    writeFileSync(path, '{"episode_index": 0, "length": 0}');
    await expectCraftError(
      () => LeRobotDataset.open({ root }),
      'DATASET_FILE_INVALID',
      'episodes.jsonl: entry 1',
      'length',
    );
  });

  it('v2.1: an index that restarts in every file is corrected with one warning', async () => {
    const root = makeV21Dataset([3, 2]);
    const scalar = (values: bigint[]): TestColumn => ['int64', 0, values];
    writeParquet(join(root, 'data/chunk-000/episode_000001.parquet'), {
      'observation.state': ['float32', 1, repeated(2, [1, 2, 3])],
      action: ['float32', 1, repeated(2, [1, 2])],
      timestamp: ['float32', 0, [0, 0.1]],
      frame_index: scalar([0n, 1n]),
      episode_index: scalar([1n, 1n]),
      index: scalar([0n, 1n]),
      task_index: scalar([0n, 0n]),
    });
    const warnings: string[] = [];
    const dataset = await LeRobotDataset.open({ root, onWarning: (message) => warnings.push(message) });
    expect(dataset.columns.get('index')!.data).toEqual(BigInt64Array.of(0n, 1n, 2n, 3n, 4n));
    expect(warnings).toEqual([expect.stringContaining('column "index" does not count frames')]);
  });
});

it('formatPath pads numbers and keeps every path inside the root', async () => {
  const values = { chunk_index: 7, video_key: 'observation.images.top', file_index: 1234 };
  expect(
    formatPath('/d', 'videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4', values),
  ).toBe('/d/videos/observation.images.top/chunk-007/file-1234.mp4');
  expect(formatPath('/d', '{chunk_index}', values)).toBe('/d/7');
  await expectCraftError(
    () => formatPath('/d', 'videos/{video_key}', { video_key: '../../x' }),
    'DATASET_PATH_INVALID',
  );
});
