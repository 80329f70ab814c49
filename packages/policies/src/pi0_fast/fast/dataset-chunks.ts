import {
  type Column,
  computeStats,
  type FeatureStats,
  LeRobotDataset,
  LeRobotDatasetMetadata,
  type QuantileName,
  shuffle,
  Xoshiro128,
} from '@craft-ft/datasets';
import { CraftError } from '@craft-ft/torch/errors';
import type { NormalizationMode } from '../../config/policy-fields.js';
import { MODE_STATS } from '../../processors/normalizer.js';

const ACTION = 'action';

/** Which action chunks of a dataset to take; names are those of LeRobot's `lerobot-train-tokenizer`. */
export interface ChunkOptions {
  root: string;
  /** Steps of a chunk: the policy's `chunk_size`. */
  actionHorizon: number;
  /** These episodes only. null: all. */
  episodes: readonly number[] | null;
  /** The first of them only. null: all. */
  maxEpisodes: number | null;
  /** Share of each episode's chunks. */
  sampleFraction: number;
  /** Ranges [from, to) of action dimensions. null: all. */
  encodedDims: readonly (readonly [number, number])[] | null;
  /** Dimensions that become relative to the state at the start of the chunk. null: none. */
  deltaDims: readonly number[] | null;
  stateKey: string;
  mode: NormalizationMode;
}

/** Action chunks, normalised. */
export interface ChunkSet {
  /** Each `[T, D]` row-major; values beyond the quantiles as they are. */
  chunks: Float32Array[];
  /** `[T, D]` */
  shape: [number, number];
  episodes: number;
}

/**
 * A sample of the chunks of consecutive actions within episodes, normalised with the statistics of the chosen dimensions. For delta
 * chunks these are computed from the chunks, since the dataset's statistics are over absolute actions.
 *
 * @throws CraftError `TOKENIZER_DATASET` for a dataset without actions, dimensions it lacks, or a horizon that no episode reaches
 */
export async function datasetChunks(options: ChunkOptions): Promise<ChunkSet> {
  const { root, actionHorizon: horizon, sampleFraction, deltaDims, stateKey } = options;
  const dataset = await openChosen(options);
  const action = dataset.columns.get(ACTION)!;
  const dims = chosenDims(options, action);
  const state = deltaDims === null ? null : dataset.columns.get(stateKey)!;
  if (state !== null && deltaDims!.some((d) => d >= state.width || d >= action.width)) {
    const message = `${root}: delta_dims goes to ${Math.max(...deltaDims!)}; "${stateKey}" has ${state.width} dimensions, "action" ${action.width}`;
    throw new CraftError('TOKENIZER_DATASET', message);
  }
  const delta = new Set(deltaDims ?? []);
  const chunks: Float32Array[] = [];
  let episodes = 0;
  for (const { start, end, episodeIndex } of dataset.episodes) {
    const starts = sampled(end - start - horizon + 1, sampleFraction, episodeIndex);
    if (starts.length > 0) episodes++;
    for (const offset of starts) {
      const row = start + offset;
      const chunk = new Float32Array(horizon * dims.length);
      for (let t = 0; t < horizon; t++) {
        dims.forEach((d, i) => {
          const from = state !== null && delta.has(d) ? Number(state.data[row * state.width + d]) : 0;
          chunk[t * dims.length + i] = Number(action.data[(row + t) * action.width + d]) - from;
        });
      }
      chunks.push(chunk);
    }
  }
  if (chunks.length === 0) {
    const longest = Math.max(...dataset.episodes.map(({ start, end }) => end - start));
    throw new CraftError(
      'TOKENIZER_DATASET',
      `${root}: action_horizon=${horizon} is longer than every episode, the longest has ${longest} frames; lower it`,
    );
  }
  const stats =
    deltaDims === null ? columnStats(dataset, options.mode, dims) : chunkStats(chunks, dims.length);
  for (const chunk of chunks) normalize(chunk, options.mode, stats);
  return { chunks, shape: [horizon, dims.length], episodes };
}

async function openChosen(options: ChunkOptions): Promise<LeRobotDataset> {
  const { root, episodes, maxEpisodes, deltaDims, stateKey } = options;
  const metadata = await LeRobotDatasetMetadata.load(root);
  const keys = deltaDims === null ? [ACTION] : [ACTION, stateKey];
  for (const key of keys) {
    if (metadata.features[key] !== undefined) continue;
    const has = Object.keys(metadata.features).join(', ');
    const remedy = key === ACTION ? 'a FAST tokenizer is trained on actions' : 'choose another state_key';
    throw new CraftError('TOKENIZER_DATASET', `${root}: has no "${key}", it has ${has}; ${remedy}`);
  }
  const all = episodes ?? metadata.episodes.map(({ episodeIndex }) => episodeIndex);
  return LeRobotDataset.open({ root, episodes: all.slice(0, maxEpisodes ?? all.length), keys });
}

function chosenDims({ root, encodedDims }: ChunkOptions, { width }: Column): number[] {
  const ranges = encodedDims ?? [[0, width] as const];
  const dims = ranges.flatMap(([from, to]) =>
    Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i),
  );
  if (dims.length > 0 && dims.every((d) => d < width)) return dims;
  throw new CraftError(
    'TOKENIZER_DATASET',
    `${root}: encoded_dims ${ranges.map((range) => range.join(':')).join(',')} does not fit the ${width} dimensions of "action"`,
  );
}

/** Which of an episode's `count` chunks are taken; depends only on the episode, not on the others. */
function sampled(count: number, fraction: number, episode: number): number[] {
  if (count <= 0) return [];
  if (fraction >= 1) return Array.from({ length: count }, (_, i) => i);
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  shuffle(order, new Xoshiro128(episode, 0));
  return [...order.subarray(0, Math.max(1, Math.floor(count * fraction)))].sort((a, b) => a - b);
}

function columnStats(
  dataset: LeRobotDataset,
  mode: NormalizationMode,
  dims: readonly number[],
): FeatureStats {
  const { data, shape, width } = dataset.columns.get(ACTION)!;
  const known = dataset.stats[ACTION];
  const needed = mode === 'IDENTITY' ? [] : MODE_STATS[mode];
  const complete = known !== undefined && needed.every((name) => Object.hasOwn(known, name));
  const all = complete ? known : computeStats(Array.from(data, Number), shape, data.length / width);
  const pick = (values: number[]): number[] => dims.map((d) => values[d]!);
  const picked = { ...all, min: pick(all.min), max: pick(all.max), mean: pick(all.mean), std: pick(all.std) };
  for (const name of ['q01', 'q10', 'q50', 'q90', 'q99'] satisfies QuantileName[]) {
    const values = all[name];
    if (values !== undefined) picked[name] = pick(values);
  }
  return picked;
}

function chunkStats(chunks: readonly Float32Array[], width: number): FeatureStats {
  const values = new Float64Array(chunks.length * chunks[0]!.length);
  chunks.forEach((chunk, i) => {
    values.set(chunk, i * chunk.length);
  });
  return computeStats(values, [width], values.length / width);
}

/** As LeRobot's script: a range or deviation below 1e-8 counts as 1e-8. */
function normalize(chunk: Float32Array, mode: NormalizationMode, stats: FeatureStats): void {
  if (mode === 'IDENTITY') return;
  const [first, second] = MODE_STATS[mode].map(
    (name) => (stats as unknown as Record<string, number[]>)[name]!,
  );
  const width = first!.length;
  for (let i = 0; i < chunk.length; i++) {
    const [low, high] = [first![i % width]!, second![i % width]!];
    chunk[i] =
      mode === 'MEAN_STD'
        ? (chunk[i]! - low) / Math.max(high, 1e-8)
        : (2 * (chunk[i]! - low)) / Math.max(high - low, 1e-8) - 1;
  }
}
