import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { atomicWriteFile } from '@craft-ft/torch';
import { parquetWriteBuffer } from 'hyparquet-writer';
import type { OnWarning } from '../dataset/dataset-files.js';
import { columnDType } from '../dataset/dtypes.js';
import type { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import { aggregateStats, type DatasetStats, quantileNames } from '../dataset/stats.js';
import {
  dataPath,
  episodeColumns,
  MetadataFiles,
  nest,
  statsJson,
  videoPath,
  type WrittenEpisode,
} from '../writer/metadata-files.js';
import { fileSchema, isVisual } from '../writer/parquet-writer.js';
import type { PlacedVideos } from './compose-videos.js';
import { readEpisodeStats, readTable, type TableColumn, writeTable } from './metadata-tables.js';
import type { SourceEpisode } from './source-episodes.js';

/**
 * Writes meta/ for everything but cameras. The dataset writer's code writes tasks, statistics and info.json, as if for the last
 * episode only; then the table of all episodes replaces its one-row table.
 */
export function writeComposedMetadata(
  like: LeRobotDatasetMetadata,
  root: string,
  episodes: readonly WrittenEpisode[],
  tasks: readonly string[],
  sizes: { readonly dataFilesSizeInMb: number; readonly videoFilesSizeInMb: number },
): void {
  const numeric = Object.entries(like.features).filter(([, { dtype }]) => columnDType(dtype) !== undefined);
  const features = Object.fromEntries(numeric);
  const { dataFilesSizeInMb, videoFilesSizeInMb } = sizes;
  const info = {
    codebase_version: 'v3.0',
    robot_type: like.robotType,
    total_episodes: 0,
    total_frames: 0,
    total_tasks: 0,
    chunks_size: 1000,
    data_files_size_in_mb: dataFilesSizeInMb,
    video_files_size_in_mb: videoFilesSizeInMb,
    fps: like.fps,
    splits: {},
    data_path: dataPath,
    video_path: Object.values(like.features).some(({ dtype }) => dtype === 'video') ? videoPath : null,
    features: Object.fromEntries(
      Object.entries(like.features).map(([key, { extra, ...feature }]) => [key, { ...feature, ...extra }]),
    ),
  };
  const before = episodes.slice(0, -1);
  const totals = {
    episodes: before.length,
    frames: before.reduce((sum, { length }) => sum + length, 0),
    tasks: [],
    stats:
      before.length === 0
        ? undefined
        : aggregateStats(
            before.map(({ stats }) => stats),
            root,
            () => {},
          ),
  };
  const first = { chunk: 0, file: 0 };
  const dataset = { root, features, chunksSize: 1000, dataFilesSizeInMb, info };
  const staged = new MetadataFiles(dataset, totals, first).stage(episodes.at(-1)!, tasks);
  for (const file of staged.files) file.commit();
  const { columns, values } = episodeColumns(episodes, features, first);
  const columnData = columns.map(({ name }, i) => ({ name, data: values[i]! }));
  atomicWriteFile(
    episodesTable(root),
    new Uint8Array(parquetWriteBuffer({ columnData, schema: fileSchema(columns) })),
  );
}

function episodesTable(root: string): string {
  return join(root, 'meta', 'episodes', 'chunk-000', 'file-000.parquet');
}

/** Adds the cameras of a written dataset to its episodes table and statistics, in LeRobot's order of columns. */
export async function addCameras(
  episodes: readonly SourceEpisode[],
  root: string,
  videos: PlacedVideos,
  warn: OnWarning,
): Promise<void> {
  const { features } = episodes[0]!.metadata;
  const cameras = Object.keys(features).filter((key) => isVisual(features[key]!.dtype));
  if (cameras.length === 0) return;
  const stats = await cameraStats(episodes, cameras, warn);
  const path = episodesTable(root);
  const table = await readTable(path);
  const placed = new Map<string, TableColumn>();
  for (const [key, segments] of videos) {
    const add = (name: string, dtype: string, values: number[]): void => {
      placed.set(`videos/${key}/${name}`, { dtype, depth: 0, values });
    };
    add(
      'chunk_index',
      'int64',
      segments.map((s) => s.chunkIndex),
    );
    add(
      'file_index',
      'int64',
      segments.map((s) => s.fileIndex),
    );
    add(
      'from_timestamp',
      'float64',
      segments.map((s) => s.fromTimestamp),
    );
    add(
      'to_timestamp',
      'float64',
      segments.map((s) => s.toTimestamp),
    );
  }
  const own = [...table];
  const before = own.findIndex(([name]) => name.startsWith('stats/'));
  const after = own.findIndex(([name]) => name.startsWith('meta/'));
  const statsColumns = cameras.flatMap((key) => columnsOf(key, stats));
  writeTable(
    path,
    new Map([
      ...own.slice(0, before),
      ...placed,
      ...own.slice(before, after),
      ...statsColumns,
      ...own.slice(after),
    ]),
  );
  // If any episode lacks a camera's statistics, the dataset gets none for it; `cameraStats` has warned.
  const total = aggregateStats(stats, root, () => {});
  const statsPath = join(root, 'meta', 'stats.json');
  const json = JSON.parse(readFileSync(statsPath, 'utf8')) as Record<string, unknown>;
  for (const [key, values] of Object.entries(total)) json[key] = statsJson(values);
  atomicWriteFile(statsPath, JSON.stringify(json, null, 4));
}

/** One set per episode, of the cameras only; empty for a source without statistics per episode. */
async function cameraStats(
  episodes: readonly SourceEpisode[],
  cameras: readonly string[],
  warn: OnWarning,
): Promise<DatasetStats[]> {
  const known = new Map<LeRobotDatasetMetadata, Map<number, DatasetStats>>();
  const sets: DatasetStats[] = [];
  for (const { metadata, episode } of episodes) {
    if (!known.has(metadata)) known.set(metadata, await readEpisodeStats(metadata, warn));
    const all = known.get(metadata)!.get(episode.episodeIndex);
    sets.push(
      Object.fromEntries(cameras.flatMap((key) => (all?.[key] === undefined ? [] : [[key, all[key]]]))),
    );
  }
  for (const key of cameras) {
    const missing = sets.filter((set) => set[key] === undefined).length;
    if (missing === 0) continue;
    warn(
      `${episodes[0]!.metadata.root}: ${missing} episodes have no statistics of "${key}"; those are left out`,
    );
  }
  return sets;
}

function columnsOf(key: string, sets: readonly DatasetStats[]): [string, TableColumn][] {
  if (sets.some((set) => set[key] === undefined)) return [];
  const of = sets.map((set) => set[key]!);
  const names = ['min', 'max', 'mean', 'std', ...quantileNames].filter((name) =>
    of.every((stats) => stats[name as 'min'] !== undefined),
  );
  const columns = names.map((name): [string, TableColumn] => [
    `stats/${key}/${name}`,
    {
      dtype: 'float64',
      depth: of[0]!.shape.length,
      values: of.map((stats) => nest(stats[name as 'min'], stats.shape)),
    },
  ]);
  columns.splice(4, 0, [
    `stats/${key}/count`,
    { dtype: 'int64', depth: 1, values: of.map((stats) => [stats.count]) },
  ]);
  return columns;
}
