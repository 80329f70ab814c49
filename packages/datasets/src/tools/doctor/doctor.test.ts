import { existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sharedPath } from '../../../../torch/test/shared.js';
import { editJson, makeDataset, makeV21Dataset, temporaryFolder } from '../../../test/datasets.js';
import { writeClip } from '../../../test/video.js';
import { convertDataset } from '../edit.js';
import { readTable, type TableColumn, writeTable } from '../metadata-tables.js';
import { decodeVideo, probeVideo, type VideoProbe } from './check-videos.js';
import { examineDataset } from './doctor.js';
import { exitCode, type Finding, type FindingCode, findingCodes } from './findings.js';

const camera = 'observation.images.top';
const data = 'data/chunk-000/file-000.parquet';
const episodes = 'meta/episodes/chunk-000/file-000.parquet';

/** Changes a column of a Parquet file: each value by its row, or all rows at once. */
async function editColumn(
  path: string,
  column: string,
  edit: (value: unknown, row: number) => unknown,
): Promise<void> {
  const table = await readTable(path);
  const old = table.get(column)!;
  table.set(column, { ...old, values: old.values.map(edit) });
  writeTable(path, table);
}

async function editTable(path: string, edit: (table: Map<string, TableColumn>) => void): Promise<void> {
  const table = await readTable(path);
  edit(table);
  writeTable(path, table);
}

/** A v2.1 dataset of one camera with 4 and 6 frames, 4×4 in info.json made true. */
async function makeFilmed(): Promise<string> {
  const root = makeV21Dataset([4, 6]);
  editJson(join(root, 'meta/info.json'), (info) => {
    (info.features as Record<string, unknown>)[camera] = {
      dtype: 'video',
      shape: [64, 96, 3],
      names: ['height', 'width', 'channels'],
      info: { 'video.codec': 'h264' },
    };
  });
  for (const [episode, frames] of [4, 6].entries()) await film(root, episode, frames);
  return root;
}

async function film(root: string, episode: number, frames: number, fps = 10): Promise<void> {
  const path = join(root, 'videos/chunk-000', camera, `episode_${String(episode).padStart(6, '0')}.mp4`);
  mkdirSync(dirname(path), { recursive: true });
  await writeClip(path, { frames, fps, gop: 2, bFrames: 0 });
}

/** The same as v3.0: both episodes in one file. */
async function makeFilmed3(): Promise<string> {
  const output = temporaryFolder();
  await convertDataset(await makeFilmed(), output, { onWarning: () => {} });
  return output;
}

const { info: infoJson, json } = {
  info: (root: string, edit: (info: Record<string, unknown>) => void) =>
    editJson(join(root, 'meta/info.json'), edit),
  json: (root: string, edit: (stats: Record<string, Record<string, unknown>>) => void) =>
    editJson(join(root, 'meta/stats.json'), edit as (json: Record<string, unknown>) => void),
};

/** How to provoke each finding on a healthy dataset, and what it must say. */
const provoked: Record<
  FindingCode,
  [
    make: () => string | Promise<string>,
    harm: (root: string) => unknown,
    expected: Omit<Partial<Finding>, 'message'> & { message: string | RegExp },
  ]
> = {
  METADATA_UNREADABLE: [
    () => makeDataset([3]),
    (root) => rmSync(join(root, 'meta/tasks.parquet')),
    { message: /tasks.parquet: the file is missing/ },
  ],
  METADATA_NOTE: [
    () => makeDataset([3]),
    (root) => infoJson(root, (i) => Object.assign(i, { odd: 1 })),
    { message: /odd/ },
  ],
  FILE_EMPTY: [
    () => makeDataset([3]),
    (root) => truncateSync(join(root, 'meta/tasks.parquet'), 0),
    { file: 'meta/tasks.parquet', message: 'the file is empty' },
  ],
  PATH_ESCAPES: [
    () => makeDataset([3]),
    (root) => infoJson(root, (i) => Object.assign(i, { data_path: '../{chunk_index:03d}/{file_index:03d}' })),
    { file: 'meta/info.json', message: /outside the dataset's folder/ },
  ],
  TOTALS: [
    () => makeDataset([3]),
    (root) => infoJson(root, (i) => Object.assign(i, { total_frames: 5 })),
    { file: 'meta/info.json', message: 'total_frames is 5, the metadata lists 3', fixable: true },
  ],
  EPISODE_NUMBERS: [
    () => makeV21Dataset([3, 2, 2]),
    (root) => {
      const path = join(root, 'meta/episodes.jsonl');
      const lines = readFileSync(path, 'utf8').split('\n');
      writeFileSync(path, [lines[0], lines[2]].join('\n'));
    },
    { episode: 2, message: /episode 1 missing/ },
  ],
  EPISODE_RANGE: [
    () => makeDataset([3, 2]),
    async (root) => {
      for (const name of ['dataset_from_index', 'dataset_to_index'])
        await editColumn(join(root, episodes), name, (v, row) => (v as bigint) + (row === 1 ? 4n : 0n));
    },
    { episode: 1, message: 'dataset_from_index is 7, the episodes before have 3 frames' },
  ],
  TASK_NUMBERS: [
    () => makeDataset([3, 2]),
    (root) => editColumn(join(root, 'meta/tasks.parquet'), 'task_index', (_, row) => BigInt(row * 2)),
    { file: 'meta/tasks.parquet', message: /row 1 has task_index 2/ },
  ],
  TASK_UNKNOWN: [
    () => makeDataset([3]),
    (root) => editColumn(join(root, data), 'task_index', (v, row) => (row === 1 ? 4n : v)),
    { episode: 0, file: data, message: 'task_index is 4 at frame 1, which the tasks file does not list' },
  ],
  DATA_MISSING: [
    () => makeV21Dataset([3, 2], [0]),
    () => {},
    { episode: 1, file: 'data/chunk-000/episode_000001.parquet', message: /missing; it holds episode 1/ },
  ],
  DATA_UNREADABLE: [
    () => makeDataset([3]),
    (root) => truncateSync(join(root, data), 500),
    { episode: 0, file: data, message: /truncated or not a Parquet file/ },
  ],
  COLUMN_MISSING: [
    () => makeDataset([3]),
    (root) => editTable(join(root, data), (table) => void table.delete('action')),
    { file: data, message: 'the column "action" of info.json is missing' },
  ],
  COLUMN_EXTRA: [
    () => makeDataset([3]),
    (root) =>
      editTable(
        join(root, data),
        (t) => void t.set('note', { dtype: 'float32', depth: 0, values: [1, 2, 3] }),
      ),
    { file: data, message: /not read: note/ },
  ],
  COLUMN_TYPE: [
    () => makeDataset([3]),
    (root) =>
      editTable(
        join(root, data),
        (t) => void t.set('action', { dtype: 'string', depth: 0, values: ['a', 'b', 'c'] }),
      ),
    { file: data, message: 'column "action" is string, info.json says float32 [2]' },
  ],
  COLUMN_VALUES: [
    () => makeDataset([3]),
    (root) => editColumn(join(root, data), 'action', (v, row) => (row === 2 ? [1] : v)),
    { episode: 0, file: data, message: /frame 2: 1 values, info.json says 2/ },
  ],
  ROW_COUNT: [
    () => makeDataset([3, 4]),
    (root) =>
      editTable(join(root, data), (table) => {
        for (const [name, column] of table) table.set(name, { ...column, values: column.values.slice(0, 6) });
      }),
    { episode: 1, file: data, message: '3 rows, meta/episodes says 4' },
  ],
  ROWS_UNLISTED: [
    () => makeDataset([3, 4]),
    (root) =>
      editTable(join(root, data), (table) => {
        for (const [name, column] of table)
          table.set(name, { ...column, values: [...column.values, ...column.values.slice(0, 2)] });
      }),
    { severity: 'warning', file: data, message: /^2 rows at the end belong to no episode/ },
  ],
  EPISODE_INDEX: [
    () => makeDataset([3, 2]),
    (root) => editColumn(join(root, data), 'episode_index', (v, row) => (row === 4 ? 9n : v)),
    { episode: 1, message: 'episode_index is 9 at frame 1, expected 1' },
  ],
  FRAME_INDEX: [
    () => makeDataset([3, 2]),
    (root) => editColumn(join(root, data), 'frame_index', () => 0n),
    { episode: 0, message: 'frame_index is 0 at frame 1, expected 1; 2 of 3 frames are wrong' },
  ],
  INDEX: [
    () => makeDataset([3, 2]),
    (root) => editColumn(join(root, data), 'index', (v, row) => (row === 3 ? 0n : v)),
    { episode: 1, message: 'index is 0 at frame 0, expected 3' },
  ],
  INDEX_V2: [
    () => makeV21Dataset([3, 2]),
    (root) =>
      editColumn(join(root, 'data/chunk-000/episode_000001.parquet'), 'index', (v) => (v as bigint) - 3n),
    { severity: 'warning', episode: 1, message: /^index is 0 at frame 0, expected 3/ },
  ],
  TIMESTAMP: [
    () => makeDataset([3]),
    (root) => editColumn(join(root, data), 'timestamp', (v, row) => (row === 2 ? 0.25 : v)),
    { episode: 0, file: data, message: 'timestamp is 0.25 at frame 2, expected 0.2' },
  ],
  NOT_FINITE: [
    () => makeDataset([3, 2]),
    (root) => editColumn(join(root, data), 'action', (v, row) => (row === 4 ? [0, Number.NaN] : v)),
    { episode: 1, file: data, message: 'column "action" is NaN at frame 1, element 1; 1 such values' },
  ],
  VIDEO_MISSING: [
    makeFilmed,
    (root) => rmSync(join(root, 'videos/chunk-000', camera, 'episode_000001.mp4')),
    { camera, episode: 1, file: `videos/chunk-000/${camera}/episode_000001.mp4`, message: /missing/ },
  ],
  VIDEO_UNREADABLE: [
    makeFilmed,
    (root) => truncateSync(join(root, 'videos/chunk-000', camera, 'episode_000001.mp4'), 300),
    { camera, episode: 1, message: /not a readable video|truncated/ },
  ],
  VIDEO_FPS: [
    makeFilmed,
    (root) => film(root, 1, 6, 20),
    { camera, message: 'the video has 20 frames per second, info.json says 10' },
  ],
  VIDEO_SIZE: [
    makeFilmed,
    (root) =>
      infoJson(root, (i) => {
        (i.features as Record<string, { shape: number[] }>)[camera]!.shape = [64, 64, 3];
      }),
    { camera, message: 'the video is 64×96, info.json says [64, 64, 3]' },
  ],
  VIDEO_CODEC: [
    makeFilmed,
    (root) =>
      infoJson(root, (i) => {
        (i.features as Record<string, { info: unknown }>)[camera]!.info = { 'video.codec': 'libsvtav1' };
      }),
    { camera, message: /codec is h264, info.json says libsvtav1/ },
  ],
  VIDEO_FRAMES: [
    makeFilmed,
    (root) => film(root, 0, 3),
    { camera, episode: 0, message: /has 3 frames, .* says 4/ },
  ],
  VIDEO_WINDOW: [
    makeFilmed3,
    (root) =>
      editTable(join(root, episodes), (table) => {
        const shift = (name: string): void => {
          const column = table.get(`videos/${camera}/${name}`)!;
          table.set(`videos/${camera}/${name}`, {
            ...column,
            values: [column.values[0], (column.values[1] as number) + 1],
          });
        };
        shift('from_timestamp');
        shift('to_timestamp');
      }),
    { camera, episode: 1, message: 'the window 1.4 s to 2 s is not inside the file, which ends at 1 s' },
  ],
  VIDEO_TIMESTAMP: [
    makeFilmed3,
    (root) =>
      editColumn(join(root, episodes), `videos/${camera}/from_timestamp`, (v, row) => (row === 1 ? 0.41 : v)),
    { camera, episode: 1, message: 'no frame at 0.41 s (frame 0 of the episode); the nearest is at 0.4 s' },
  ],
  VIDEO_OVERLAP: [
    makeFilmed3,
    async (root) => {
      for (const [name, from] of [
        ['from_timestamp', 0.2],
        ['to_timestamp', 0.8],
      ] as const)
        await editColumn(join(root, episodes), `videos/${camera}/${name}`, (v, row) =>
          row === 1 ? from : v,
        );
    },
    { camera, episode: 1, message: /begins at 0.2 s, before the one of the episode before ends/ },
  ],
  STATS_MISSING: [
    () => makeDataset([3]),
    (root) => rmSync(join(root, 'meta/stats.json')),
    { file: 'meta/stats.json', message: /missing/, fixable: true },
  ],
  STATS_CAMERA: [makeFilmed, () => {}, { camera, episode: 0, message: `no statistics of "${camera}"` }],
  STATS_NOT_FINITE: [
    () => makeDataset([3]),
    (root) => json(root, (stats) => Object.assign(stats.action!, { std: [null, 1] })),
    { file: 'meta/stats.json', message: 'std of "action" is NaN or infinite', fixable: true },
  ],
  STATS_SHAPE: [
    () => makeDataset([3]),
    (root) => json(root, (stats) => Object.assign(stats.action!, { mean: [1] })),
    { file: 'meta/stats.json', message: 'mean of "action" has 1 values, info.json says 2' },
  ],
  STATS_STALE: [
    () => makeDataset([3]),
    (root) => json(root, (stats) => Object.assign(stats.action!, { max: [9, 9] })),
    {
      file: 'meta/stats.json',
      message: /"action", element 0: the data reach from -2 to 0, the statistics say from -2 to 9/,
    },
  ],
  ORPHAN: [
    () => makeDataset([3]),
    (root) => writeFileSync(join(root, 'data/chunk-000/file-007.parquet'), 'x'),
    { file: 'data/chunk-000/file-007.parquet', message: 'no episode of the metadata uses the file' },
  ],
};

describe('examineDataset', () => {
  it('finds nothing wrong with healthy datasets', async () => {
    expect((await examineDataset(makeDataset([3, 5, 1]))).findings).toEqual([]);
    expect(
      (await examineDataset(await makeFilmed3())).findings.filter((f) => f.code !== 'STATS_CAMERA'),
    ).toEqual([]);
    expect(
      (await examineDataset(await makeFilmed())).findings.filter((f) => f.code !== 'STATS_CAMERA'),
    ).toEqual([]);
  });

  it.each(Object.keys(findingCodes) as FindingCode[])('%s', async (code) => {
    const [make, harm, { message, ...expected }] = provoked[code];
    const root = await make();
    await harm(root);
    const { findings } = await examineDataset(root);
    const found = findings.filter((finding) => finding.code === code);
    expect(findings.map((f) => f.code)).toContain(code);
    expect(found[0]).toMatchObject({ severity: findingCodes[code], ...expected });
    expect(found[0]!.message).toMatch(message);
    if (typeof message === 'string') expect(found[0]!.message).toBe(message);
    for (const finding of findings) {
      expect(finding.message).not.toContain(root);
      expect(finding.message).not.toContain('\n');
      expect(finding.file).not.toMatch(/^\//);
    }
  });

  it('decodes videos when asked to', async () => {
    const root = await makeFilmed();
    const path = join(root, 'videos/chunk-000', camera, 'episode_000001.mp4');
    // With the header first, all after the word mdat is encoded frames.
    await writeClip(path, { frames: 6, fps: 10, gop: 2, bFrames: 0, faststart: true, width: 96, height: 64 });
    const bytes = readFileSync(path);
    bytes.fill(0xff, bytes.indexOf('mdat') + 4);
    writeFileSync(path, bytes);
    const found = async (probe: VideoProbe) =>
      (await examineDataset(root, { probe })).findings.filter(({ code }) => code === 'VIDEO_UNREADABLE');
    expect(await found(probeVideo)).toEqual([]);
    expect(await found(decodeVideo)).toMatchObject([{ camera, episode: 1, message: /among frames 0 to 5/ }]);
  });

  it('has an exit code by severity', () => {
    const of = (...severities: Finding['severity'][]) =>
      exitCode(severities.map((severity) => ({ severity, code: 'ORPHAN', file: '', message: '' })));
    expect([of(), of('info'), of('warning', 'info'), of('error', 'warning')]).toEqual([0, 0, 3, 1]);
  });
});

describe('real data', () => {
  const so101 = sharedPath('data', 'so101_orange_cube_v3');
  it.skipIf(!existsSync(so101))('so101: both cameras lack their video, all else is right', async () => {
    const { findings } = await examineDataset(so101);
    expect(findings.map(({ code, camera: key }) => [code, key])).toEqual([
      ['VIDEO_MISSING', 'observation.images.front'],
      ['VIDEO_MISSING', 'observation.images.top'],
    ]);
    expect(findings[0]!.message).toBe('the file is missing; it holds 4 episodes, 0 to 3');
  });

  const g1 = sharedPath('data', 'g1_yellow_bottle');
  it.skipIf(!existsSync(g1))(
    'g1: 90 of 100 episodes are not there, the others are right',
    { timeout: 120_000 },
    async () => {
      const { findings } = await examineDataset(g1);
      const present = [10, 28, 29, 30, 31, 59, 63, 82, 88, 99];
      for (const code of ['DATA_MISSING', 'VIDEO_MISSING'] as const) {
        const of = findings.filter((finding) => finding.code === code);
        expect(of).toHaveLength(90);
        expect(of.every(({ episode }) => !present.includes(episode!))).toBe(true);
      }
      const rest = findings.filter(({ code }) => code !== 'DATA_MISSING' && code !== 'VIDEO_MISSING');
      expect(rest).toEqual([]);
    },
  );
});
