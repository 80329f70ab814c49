import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { CraftError } from '@craft-ft/torch';
import { type DecodedArray, parquetReadObjects } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterEach, expect } from 'vitest';
import { fileSchema, writeColumn } from '../src/writer/parquet-writer.js';
import { LeRobotDatasetWriter } from '../src/writer/writer.js';

const folders: string[] = [];

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A path for a new folder, removed after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'craft-datasets-'));
  folders.push(folder);
  return join(folder, 'dataset');
}

/** Value that only frame `frame` of episode `episode` has in element `i`. */
export function valueAt(episode: number, frame: number, i: number): number {
  return episode * 1000 + frame + i / 4;
}

/** Writes a v3.0 dataset, 10 fps: `observation.state` [3], `action` [2] (values of {@link valueAt}), `next.done` bool. */
export function makeDataset(
  lengths: readonly number[],
  options: { dataFilesSizeInMb?: number; keys?: { state: string; action: string } } = {},
): string {
  const root = temporaryFolder();
  const { state, action } = options.keys ?? { state: 'observation.state', action: 'action' };
  const writer = LeRobotDatasetWriter.create({
    root,
    fps: 10,
    robotType: 'test',
    dataFilesSizeInMb: options.dataFilesSizeInMb,
    features: {
      [state]: { dtype: 'float32', shape: [3], names: ['x', 'y', 'z'] },
      [action]: { dtype: 'float32', shape: [2] },
      'next.done': { dtype: 'bool', shape: [1] },
    },
  });
  lengths.forEach((length, episode) => {
    for (let frame = 0; frame < length; frame++) {
      writer.addFrame({
        [state]: [0, 1, 2].map((i) => valueAt(episode, frame, i)),
        [action]: [0, 1].map((i) => -valueAt(episode, frame, i)),
        'next.done': frame === length - 1,
        task: episode % 2 === 0 ? 'push' : 'pull',
      });
    }
    writer.saveEpisode();
  });
  writer.finalize();
  return root;
}

/** A column for {@link writeParquet}: dtype of the leaf, list depth, rows. */
export type TestColumn = readonly [dtype: string, depth: number, rows: DecodedArray];

export function writeParquet(path: string, columns: Readonly<Record<string, TestColumn>>): void {
  const entries = Object.entries(columns);
  const schema = fileSchema(entries.map(([name, [dtype, depth]]) => writeColumn(name, dtype, depth)));
  mkdirSync(dirname(path), { recursive: true });
  const columnData = entries.map(([name, [, , data]]) => ({ name, data }));
  writeFileSync(path, new Uint8Array(parquetWriteBuffer({ columnData, schema })));
}

/** Reads a Parquet file as rows. @param options `utf8`: whether bytes of no declared kind are texts. */
export async function readParquet(
  path: string,
  options: { utf8?: boolean } = {},
): Promise<Record<string, unknown>[]> {
  const bytes = readFileSync(path);
  return parquetReadObjects({
    ...options,
    file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer,
  });
}

export function editJson(path: string, edit: (json: Record<string, unknown>) => void): void {
  const json = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  edit(json);
  writeFileSync(path, JSON.stringify(json));
}

/** Writes a v2.1 dataset as {@link makeDataset}, without `next.done`; `present` limits which data files exist. */
export function makeV21Dataset(
  lengths: readonly number[],
  present: readonly number[] = lengths.map((_, i) => i),
): string {
  const root = temporaryFolder();
  const meta = (name: string, lines: unknown[]): void => {
    mkdirSync(join(root, 'meta'), { recursive: true });
    writeFileSync(join(root, 'meta', name), lines.map((line) => JSON.stringify(line)).join('\n'));
  };
  const scalar = { shape: [1], names: null };
  meta('info.json', [
    {
      codebase_version: 'v2.1',
      robot_type: null,
      total_episodes: lengths.length,
      total_frames: lengths.reduce((a, b) => a + b, 0),
      total_tasks: 1,
      total_videos: 0,
      total_chunks: 1,
      chunks_size: 1000,
      fps: 10,
      splits: {},
      data_path: 'data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet',
      video_path: 'videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4',
      features: {
        'observation.state': { dtype: 'float32', shape: [3], names: null },
        action: { dtype: 'float32', shape: [2], names: null },
        'observation.images.top': { dtype: 'video', shape: [4, 4, 3], names: null },
        timestamp: { dtype: 'float32', ...scalar },
        ...Object.fromEntries(
          ['frame_index', 'episode_index', 'index', 'task_index'].map((key) => [
            key,
            { dtype: 'int64', ...scalar },
          ]),
        ),
      },
    },
  ]);
  meta('tasks.jsonl', [{ task_index: 0, task: 'push' }]);
  meta(
    'episodes.jsonl',
    lengths.map((length, i) => ({ episode_index: i, tasks: ['push'], length })),
  );
  meta(
    'episodes_stats.jsonl',
    lengths.map((length, episode) => {
      const frames = Array.from({ length }, (_, frame) => frame);
      const stats = (width: number, sign: number): object => {
        const columns = Array.from({ length: width }, (_, i) =>
          frames.map((frame) => sign * valueAt(episode, frame, i)),
        );
        const mean = columns.map((column) => column.reduce((a, b) => a + b, 0) / length);
        return {
          min: columns.map((column) => Math.min(...column)),
          max: columns.map((column) => Math.max(...column)),
          mean,
          std: columns.map((column, i) =>
            Math.sqrt(column.reduce((sum, x) => sum + (x - mean[i]!) ** 2, 0) / length),
          ),
          count: [length],
        };
      };
      return { episode_index: episode, stats: { 'observation.state': stats(3, 1), action: stats(2, -1) } };
    }),
  );
  let index = 0;
  lengths.forEach((length, episode) => {
    const frames = Array.from({ length }, (_, frame) => frame);
    if (present.includes(episode)) {
      writeParquet(join(root, `data/chunk-000/episode_${String(episode).padStart(6, '0')}.parquet`), {
        'observation.state': ['float32', 1, frames.map((f) => [0, 1, 2].map((i) => valueAt(episode, f, i)))],
        action: ['float32', 1, frames.map((f) => [0, 1].map((i) => -valueAt(episode, f, i)))],
        timestamp: ['float32', 0, frames.map((f) => f / 10)],
        frame_index: ['int64', 0, frames.map(BigInt)],
        episode_index: ['int64', 0, frames.map(() => BigInt(episode))],
        index: ['int64', 0, frames.map((f) => BigInt(f + index))],
        task_index: ['int64', 0, frames.map(() => 0n)],
      });
    }
    index += length;
  });
  return root;
}

/** Asserts that an action fails with a CraftError of this code, in one line that matches every pattern. */
export async function expectCraftError(
  action: () => unknown,
  code: string,
  ...patterns: (string | RegExp)[]
): Promise<void> {
  let error: unknown;
  try {
    await action();
  } catch (caught) {
    error = caught;
  }
  expect(error).toBeInstanceOf(CraftError);
  const { code: found, message } = error as CraftError;
  expect({ code: found, message }).toMatchObject({ code });
  expect(message).not.toContain('\n');
  for (const pattern of patterns) expect(message).toMatch(pattern);
}
