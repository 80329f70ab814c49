import { CraftError } from '@craft-ft/torch';
import { type Batch, type BatchColumn, gather, gatherWindows } from './batch.js';
import { type Column, readColumns, verifyColumns, withBookkeeping } from './columns.js';
import type { OnWarning } from './dataset-files.js';
import { type DatasetFeature, isBookkeeping, policyKeys, type RenameMap } from './dataset-info.js';
import { columnDType } from './dtypes.js';
import {
  type AbsoluteIndex,
  absoluteIndex,
  type EpisodeSpan,
  type SubsetIndex,
  spanOfAbsolute,
  spanOfRow,
  subsetIndex,
} from './indices.js';
import { LeRobotDatasetMetadata } from './metadata.js';
import type { DatasetStats } from './stats.js';

/** Options of {@link LeRobotDataset.open}. Keys are policy keys, i.e. after `renameMap`. */
export interface LeRobotDatasetOptions {
  /** The dataset's folder. */
  root: string;
  /** Name for messages and checkpoints. Default: `root`. */
  repoId?: string;
  /** Episodes to load; only their files need to exist. Default: all. The loaded order is always by episode index. */
  episodes?: readonly number[];
  /** Seconds relative to each frame, by key; these keys become windows. */
  deltaTimestamps?: Readonly<Record<string, readonly number[]>>;
  /** Dataset key → policy key. */
  renameMap?: RenameMap;
  /** Features to load. Default: every numeric one. The bookkeeping columns are always loaded. */
  keys?: readonly string[];
  /** How far a delta timestamp may be from a multiple of 1/fps, in seconds. Default 1e-4. */
  toleranceS?: number;
  /** Receives one-line warnings. Default: `console.warn`. */
  onWarning?: OnWarning;
}

/** One frame: as a {@link Batch} without the batch dimension. */
export interface Item {
  readonly columns: Record<string, BatchColumn>;
  readonly task: string;
}

/**
 * The frames of chosen episodes of a LeRobot dataset (v2.0, v2.1 or v3.0), numeric features in memory.
 *
 * @example
 * ```ts
 * const dataset = await LeRobotDataset.open({
 *   root: 'data/g1_yellow_bottle',
 *   episodes: [28, 29],
 *   deltaTimestamps: { action: Array.from({ length: 16 }, (_, i) => i / 30) },
 * });
 * const sampler = new RandomSampler(dataset, { seed: 1000 });
 * const batch = dataset.batch(sampler.batchIndices(0, 8));
 * batch.columns.action.shape; // [8, 16, 26]
 * batch.columns.action_is_pad.shape; // [8, 16]
 * ```
 */
export class LeRobotDataset {
  readonly metadata: LeRobotDatasetMetadata;
  readonly repoId: string;
  /** Number of loaded frames. */
  readonly length: number;
  /** Loaded episodes, by index. */
  readonly episodes: readonly EpisodeSpan[];
  /** Every feature of the dataset, loaded or not (cameras, strings), by policy key. */
  readonly features: Readonly<Record<string, DatasetFeature>>;
  /** Statistics over the loaded episodes, by policy key. */
  readonly stats: Readonly<DatasetStats>;
  /** Loaded columns by policy key. */
  readonly columns: ReadonlyMap<string, Column>;
  /** Frame offsets by policy key, for the keys with delta timestamps. */
  readonly deltaOffsets: ReadonlyMap<string, Int32Array>;

  private constructor(fields: Omit<LeRobotDataset, 'fps' | 'toAbsolute' | 'toSubset' | 'batch' | 'item'>) {
    this.metadata = fields.metadata;
    this.repoId = fields.repoId;
    this.length = fields.length;
    this.episodes = fields.episodes;
    this.features = fields.features;
    this.stats = fields.stats;
    this.columns = fields.columns;
    this.deltaOffsets = fields.deltaOffsets;
  }

  /**
   * Loads a dataset and checks all of it: types, widths, row counts, finite values. Cameras and strings are not loaded.
   *
   * @throws CraftError whose code starts with `DATASET_` and whose one-line message names the file, column and remedy.
   */
  static async open(options: LeRobotDatasetOptions): Promise<LeRobotDataset> {
    const warn = options.onWarning ?? ((message) => console.warn(message));
    const metadata = await LeRobotDatasetMetadata.load(options.root, { onWarning: warn });
    const names = policyKeys(metadata.root, metadata.features, options.renameMap);
    const features = Object.fromEntries(
      Object.entries(metadata.features).map(([datasetKey, { dtype, shape, names: axes }]) => [
        names.get(datasetKey)!,
        { datasetKey, dtype, shape, names: axes },
      ]),
    );
    const keys = chooseKeys(metadata.root, features, options.keys);
    const offsets = resolveDeltas(metadata, features, keys, options);
    const chosen = metadata.choose(options.episodes);
    const datasetKeys = withBookkeeping(keys.map((key) => features[key]!.datasetKey));
    const columns = await readColumns(metadata, chosen, datasetKeys);
    verifyColumns(metadata, chosen, columns, warn);
    const stats = await metadata.stats(options.episodes);
    let start = 0;
    const episodes = chosen.map((episode): EpisodeSpan => {
      const span = {
        episodeIndex: episode.episodeIndex,
        start: subsetIndex(start),
        end: start + episode.length,
        absoluteStart: absoluteIndex(episode.fromIndex),
      };
      start = span.end;
      return span;
    });
    return new LeRobotDataset({
      metadata,
      repoId: options.repoId ?? options.root,
      length: start,
      episodes,
      features,
      stats: renameStats(metadata, stats, names),
      columns: new Map([...columns].map(([key, column]) => [names.get(key)!, column])),
      deltaOffsets: offsets,
    });
  }

  /** Frames per second. */
  get fps(): number {
    return this.metadata.fps;
  }

  /** Dataset-wide index of a loaded frame. Throws CraftError `DATASET_INDEX` when the row is out of range. */
  toAbsolute(row: SubsetIndex): AbsoluteIndex {
    const span = this.#span(row);
    return absoluteIndex(span.absoluteStart + row - span.start);
  }

  /** Row of a dataset-wide index. Throws CraftError `DATASET_INDEX` when its episode is not loaded. */
  toSubset(index: AbsoluteIndex): SubsetIndex {
    const span = spanOfAbsolute(this.episodes, index);
    if (span !== undefined) return subsetIndex(span.start + index - span.absoluteStart);
    throw new CraftError('DATASET_INDEX', `${this.repoId}: frame ${index} is in none of the loaded episodes`);
  }

  /**
   * Assembles frames into one array per key; see {@link Batch} for the shapes. Windows never leave the frame's episode.
   *
   * @throws CraftError `DATASET_INDEX` when a row is out of range.
   */
  batch(indices: readonly SubsetIndex[]): Batch {
    const spans = indices.map((row) => this.#span(row));
    const columns: Record<string, BatchColumn> = {};
    for (const [key, column] of this.columns) {
      const shape = isBookkeeping(key) ? [] : column.shape;
      const offsets = this.deltaOffsets.get(key);
      if (offsets === undefined) {
        columns[key] = gather(column, shape, indices);
        continue;
      }
      const { values, isPad } = gatherWindows(column, shape, indices, spans, offsets);
      columns[key] = values;
      columns[`${key}_is_pad`] = isPad;
    }
    const taskIndex = this.columns.get('task_index')!.data;
    return { columns, tasks: indices.map((row) => this.metadata.tasks.get(Number(taskIndex[row])) ?? '') };
  }

  /** One frame. Throws CraftError `DATASET_INDEX` when the row is out of range. */
  item(row: SubsetIndex): Item {
    const { columns, tasks } = this.batch([row]);
    return {
      columns: Object.fromEntries(
        Object.entries(columns).map(([key, column]) => [key, { ...column, shape: column.shape.slice(1) }]),
      ),
      task: tasks[0]!,
    };
  }

  #span(row: SubsetIndex): EpisodeSpan {
    const span = spanOfRow(this.episodes, row);
    if (span !== undefined && Number.isInteger(row)) return span;
    throw new CraftError(
      'DATASET_INDEX',
      `${this.repoId}: row ${row} is outside the ${this.length} loaded frames`,
    );
  }
}

function chooseKeys(
  root: string,
  features: Readonly<Record<string, DatasetFeature>>,
  wanted: readonly string[] | undefined,
): string[] {
  const numeric = (key: string): boolean => columnDType(features[key]!.dtype) !== undefined;
  if (wanted === undefined) return Object.keys(features).filter(numeric);
  for (const key of wanted) {
    const feature = featureOf(root, features, key, 'keys');
    if (!numeric(key)) {
      throw new CraftError(
        'DATASET_KEY',
        `${root}: keys names "${key}", whose dtype ${feature.dtype} is not numeric`,
      );
    }
  }
  return [...wanted];
}

function resolveDeltas(
  metadata: LeRobotDatasetMetadata,
  features: Readonly<Record<string, DatasetFeature>>,
  keys: readonly string[],
  { deltaTimestamps = {}, toleranceS = 1e-4 }: LeRobotDatasetOptions,
): Map<string, Int32Array> {
  const offsets = new Map<string, Int32Array>();
  for (const [key, deltas] of Object.entries(deltaTimestamps)) {
    featureOf(metadata.root, features, key, 'delta_timestamps');
    if (!keys.includes(key) && !isBookkeeping(key)) {
      const message = `${metadata.root}: delta_timestamps names "${key}", which is not among the loaded keys: ${keys.join(', ')}`;
      throw new CraftError('DATASET_KEY', message);
    }
    if (features[`${key}_is_pad`] !== undefined) {
      throw new CraftError(
        'DATASET_KEY',
        `${metadata.root}: the mask of "${key}" would hide the feature "${key}_is_pad"; rename it`,
      );
    }
    offsets.set(key, deltaOffsets(key, deltas, metadata.fps, toleranceS));
  }
  return offsets;
}

function featureOf(
  root: string,
  features: Readonly<Record<string, DatasetFeature>>,
  key: string,
  option: string,
): DatasetFeature {
  const feature = features[key];
  if (feature !== undefined) return feature;
  const message = `${root}: ${option} names "${key}", which the dataset lacks; it has ${Object.keys(features).join(', ')}`;
  throw new CraftError('DATASET_KEY', message);
}

/** Statistics under policy keys; those of numeric features must have the feature's width. */
function renameStats(
  metadata: LeRobotDatasetMetadata,
  stats: DatasetStats,
  names: ReadonlyMap<string, string>,
): DatasetStats {
  const renamed: DatasetStats = {};
  for (const [key, values] of Object.entries(stats)) {
    const feature = metadata.features[key];
    // Ignore statistics of features that info.json does not list.
    if (feature === undefined) continue;
    const width = feature.shape.reduce((product, size) => product * size, 1);
    if (columnDType(feature.dtype) !== undefined && values.mean.length !== width) {
      throw new CraftError(
        'DATASET_STATS',
        `${metadata.root}/meta: statistics of "${key}" have ${values.mean.length} values, info.json says ${width}`,
      );
    }
    renamed[names.get(key)!] = values;
  }
  return renamed;
}

/**
 * Frame offsets of delta timestamps: δ = round(Δt · fps).
 *
 * @param key Feature the deltas belong to, for the message.
 * @param deltas Seconds relative to the frame asked for; negative for the past.
 * @param fps Frames per second of the dataset.
 * @param toleranceS How far, in seconds, a delta may be from a multiple of 1/fps; LeRobot's default is 1e-4.
 * @throws CraftError `DATASET_DELTA` when there is no delta, or one is not a multiple of 1/fps.
 */
export function deltaOffsets(
  key: string,
  deltas: readonly number[],
  fps: number,
  toleranceS: number,
): Int32Array {
  if (deltas.length === 0) {
    throw new CraftError('DATASET_DELTA', `delta_timestamps of "${key}" is empty; leave the key out instead`);
  }
  return Int32Array.from(deltas, (delta) => {
    const frames = Math.round(delta * fps);
    if (Math.abs(delta * fps - frames) / fps <= toleranceS) return frames;
    throw new CraftError(
      'DATASET_DELTA',
      `delta_timestamps of "${key}": ${delta} s is not a multiple of 1/${fps} s (nearest is ${frames}/${fps}) within ${toleranceS} s`,
    );
  });
}
