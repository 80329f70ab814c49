import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ColumnSource, parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { CAMERA } from '../../test/cameras.js';
import { expectCraftError } from '../../test/datasets.js';
import { LeRobotDataset } from '../dataset/dataset.js';
import { subsetIndex } from '../dataset/indices.js';
import { LeRobotDatasetWriter } from '../writer/writer.js';
import { FrameLoader } from './frame-loader.js';
import { ParquetImages } from './parquet-images.js';

/** Bytes read from files, by whatever call. */
const read = vi.hoisted(() => ({ bytes: 0, calls: 0 }));
vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>();
  const readSync = (...args: Parameters<typeof fs.readSync>) => {
    const count = fs.readSync(...args);
    read.bytes += count;
    read.calls++;
    return count;
  };
  const readFileSync = ((...args: Parameters<typeof fs.readFileSync>) => {
    const content = fs.readFileSync(...args);
    read.bytes += content.length;
    return content;
  }) as typeof fs.readFileSync;
  return { ...fs, readSync, readFileSync };
});
beforeEach(() => {
  read.bytes = 0;
  read.calls = 0;
});

const folder = mkdtempSync(join(tmpdir(), 'craft-images-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Incompressible bytes, different for every row. */
function noise(row: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = row + 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

const rowsOf = (count: number, length = 1000) =>
  Array.from({ length: count }, (_, row) => ({ bytes: noise(row, length), path: `${row}.png` }));

function writeImages(
  name: string,
  rows: readonly unknown[],
  options: { source?: Partial<ColumnSource>; rowGroupSize?: number; pageSize?: number } = {},
): string {
  const path = join(folder, name);
  const { source, ...rest } = options;
  const content = parquetWriteBuffer({
    columnData: [
      { name: 'index', data: rows.map((_, i) => i) },
      { name: 'image', data: [...rows], ...source },
    ],
    schema: [
      { name: 'root', num_children: 2 },
      { name: 'index', type: 'INT32', repetition_type: 'OPTIONAL' },
      { name: 'image', repetition_type: 'OPTIONAL', num_children: 2 },
      { name: 'bytes', type: 'BYTE_ARRAY', repetition_type: 'OPTIONAL' },
      { name: 'path', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'OPTIONAL' },
    ],
    ...rest,
  });
  writeFileSync(path, new Uint8Array(content));
  return path;
}

const plain = { encoding: 'PLAIN' } as const;

describe('every row of', () => {
  test.each([
    ['one page', { source: plain, pageSize: 1e9 }],
    ['pages and row groups', { source: plain, pageSize: 3000, rowGroupSize: 13 }],
    ['uncompressed pages', { source: { ...plain, codec: 'UNCOMPRESSED' as const }, pageSize: 3000 }],
    [
      'pages and an index of them',
      { source: { ...plain, offsetIndex: true, columnIndex: true }, pageSize: 3000 },
    ],
    ['a dictionary', { pageSize: 3000 }],
  ])('%s', async (name, options) => {
    const rows: ({ bytes: Uint8Array; path: string } | null)[] = rowsOf(40);
    rows[5] = null;
    // So that a dictionary pays off.
    for (let i = 20; i < 40; i++) rows[i] = rows[i % 7]!;
    const path = writeImages(`${name}.parquet`, rows, options);
    const images = new ParquetImages();
    for (const row of [39, 0, 5, 6, 12, 13, 14, 26, 38, 1, 39]) {
      expect(await images.read(path, 'image', row), `row ${row}`).toEqual(rows[row]?.bytes);
    }
    expect(await images.read(path, 'image', 40)).toBeUndefined();
    expect(await images.read(path, 'index', 0)).toBeUndefined();
    expect(await images.read(path, 'absent', 0)).toBeUndefined();
    images.close();
  });
});

test('every row of a file by pyarrow, as LeRobot writes its datasets', async () => {
  const path = fileURLToPath(new URL('../../test/fixtures/pyarrow-images.parquet', import.meta.url));
  const images = new ParquetImages();
  for (let row = 39; row >= 0; row--) {
    const expected = row === 5 ? undefined : noise(row < 30 ? row : row - 10, 200);
    expect(await images.read(path, 'image', row), `row ${row}`).toEqual(expected);
  }
  images.close();
});

test('a row costs its page, once; pages are kept up to a bound', async () => {
  const path = writeImages('large.parquet', rowsOf(400, 10_000), { pageSize: 50_000 });
  const images = new ParquetImages(200_000);
  await images.read(path, 'image', 200);
  // The file has 4 MB: a footer, headers of about 80 pages of 512 bytes each, one page.
  expect(read.bytes).toBeLessThan(150_000);
  read.bytes = 0;
  await images.read(path, 'image', 201);
  expect(read.bytes).toBe(0);
  for (const row of [0, 50, 100, 150, 250, 300]) await images.read(path, 'image', row);
  expect(read.bytes).toBeLessThan(6 * 70_000);
  read.bytes = 0;
  await images.read(path, 'image', 200);
  expect(read.bytes).toBeGreaterThan(40_000);
  expect(read.bytes).toBeLessThan(70_000);
  images.close();
});

test('files that are missing, truncated or none are named', async () => {
  const images = new ParquetImages();
  const absent = join(folder, 'absent.parquet');
  await expectCraftError(() => images.read(absent, 'image', 0), 'DATASET_FILE_MISSING', absent, 'restore it');
  for (const content of ['', 'PAR1', 'no Parquet file\n'.repeat(99)]) {
    const path = join(folder, 'none.parquet');
    writeFileSync(path, content);
    await expectCraftError(() => images.read(path, 'image', 0), 'DATASET_FILE_INVALID', path);
  }
  images.close();
});

test('a frame of an image dataset is had without reading its data file', async () => {
  const root = join(folder, 'set');
  const writer = LeRobotDatasetWriter.create({
    root,
    fps: 10,
    features: {
      'observation.state': { dtype: 'float32', shape: [1] },
      [CAMERA]: { dtype: 'image', shape: [128, 128, 3] },
    },
  });
  for (let episode = 0; episode < 3; episode++) {
    for (let frame = 0; frame < 40; frame++) {
      const rgb = noise(episode * 40 + frame, 128 * 128 * 3);
      writer.addFrame({ 'observation.state': [frame], [CAMERA]: rgb, task: 'push' });
    }
    await writer.saveEpisode();
  }
  writer.finalize();
  const dataset = await LeRobotDataset.open({ root, keys: ['observation.state'] });
  const loader = new FrameLoader(dataset, { cameras: [CAMERA], numWorkers: 0 });
  read.bytes = 0;
  const { rgb } = (await loader.load([subsetIndex(90)]))[CAMERA]!;
  expect(Buffer.compare(rgb, noise(90, 128 * 128 * 3))).toBe(0);
  // Three episodes of 40 pictures of 49 kB: 5.9 MB.
  expect(read.bytes).toBeGreaterThan(49_000);
  expect(read.bytes).toBeLessThan(1_500_000);
  await loader.close();
});
