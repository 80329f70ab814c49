import { atomicWriteFile, CraftError } from '@craft-ft/torch';
import { LeRobotDataset } from '../dataset/dataset.js';
import { type FeatureInfo, isBookkeeping } from '../dataset/dataset-info.js';
import { columnDType } from '../dataset/dtypes.js';
import { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import { VideoReader } from '../video/reader.js';
import { encodePng } from '../writer/png.js';

/** A short summary of a dataset. */
export interface DatasetSummary {
  readonly root: string;
  readonly version: string;
  readonly robotType: string | null;
  readonly fps: number;
  readonly episodes: number;
  readonly frames: number;
  readonly seconds: number;
  /** Frames of the shortest, the median and the longest episode. */
  readonly lengths: readonly [shortest: number, median: number, longest: number];
  readonly features: Readonly<Record<string, { dtype: string; shape: readonly number[] }>>;
  /** Episodes by instruction. */
  readonly tasks: Readonly<Record<string, number>>;
}

/** Reads the metadata only. Throws as {@link LeRobotDatasetMetadata.load}. */
export async function summarizeDataset(root: string): Promise<DatasetSummary> {
  const metadata = await LeRobotDatasetMetadata.load(root);
  const { version, robotType, fps, features, tasks } = metadata;
  const lengths = metadata.episodes.map(({ length }) => length).sort((a, b) => a - b);
  const frames = lengths.reduce((a, b) => a + b, 0);
  const count = (task: string): number => metadata.episodes.filter((e) => e.tasks.includes(task)).length;
  return {
    root: metadata.root,
    version: `v${version}`,
    robotType,
    fps,
    episodes: lengths.length,
    frames,
    seconds: frames / fps,
    lengths: [lengths[0] ?? 0, lengths[lengths.length >> 1] ?? 0, lengths.at(-1) ?? 0],
    features: Object.fromEntries(
      Object.entries(features).map(([key, { dtype, shape }]) => [key, { dtype, shape }]),
    ),
    tasks: Object.fromEntries([...tasks.values()].map((task) => [task, count(task)])),
  };
}

/** One element of one feature over an episode. */
export interface Curve {
  /** The feature's key and the element's name or number. */
  readonly name: string;
  readonly values: Float64Array;
}

/**
 * The numeric features of an episode, element by element, bookkeeping left out.
 *
 * @throws CraftError as {@link LeRobotDataset.open}.
 */
export async function episodeCurves(root: string, episode: number): Promise<Curve[]> {
  const dataset = await LeRobotDataset.open({ root, episodes: [episode] });
  const curves: Curve[] = [];
  for (const [key, { data, width }] of dataset.columns) {
    const feature = dataset.metadata.features[dataset.features[key]!.datasetKey]!;
    if (isBookkeeping(key) || columnDType(feature.dtype) === undefined) continue;
    const names = elementNames(feature);
    for (let element = 0; element < width; element++) {
      const values = Float64Array.from({ length: dataset.length }, (_, row) =>
        Number(data[row * width + element]),
      );
      curves.push({ name: width === 1 ? key : `${key}[${names[element] ?? element}]`, values });
    }
  }
  return curves;
}

/** `names` is a list, a nested list, or lists by axis. */
function elementNames({ names }: FeatureInfo): string[] {
  const lists = typeof names === 'object' && names !== null ? Object.values(names) : [];
  const flat = lists.flat().flat();
  return flat.every((name) => typeof name === 'string') ? (flat as string[]) : [];
}

const blocks = '▁▂▃▄▅▆▇█';

/**
 * A curve as one line of block characters: the values are averaged over `width` equal segments; the lowest segment gets the lowest
 * block. A constant is drawn at mid-height.
 */
export function sparkline(values: ArrayLike<number>, width: number): string {
  const columns = Math.min(width, values.length);
  const means = Array.from({ length: columns }, (_, i) => {
    const from = Math.floor((i * values.length) / columns);
    const to = Math.floor(((i + 1) * values.length) / columns);
    let sum = 0;
    for (let at = from; at < to; at++) sum += values[at]!;
    return sum / (to - from);
  });
  const [low, high] = [Math.min(...means), Math.max(...means)];
  return means
    .map((mean) => {
      const level = high > low ? Math.floor(((mean - low) / (high - low)) * blocks.length) : 3;
      return blocks[Math.min(level, blocks.length - 1)];
    })
    .join('');
}

export interface ContactSheetOptions {
  /** Frames per camera, from the episode's first to its last. Default 8. */
  frames?: number;
  /** Width of each image, pixels. Default 160. */
  width?: number;
}

/**
 * Writes a PNG with frames of an episode: one row per camera, time from left to right.
 *
 * @throws CraftError `DATASET_KEY` when the dataset has no videos; `VIDEO_…` naming the file; `DISK_FULL`, `WRITE_FAILED`.
 */
export async function writeContactSheet(
  root: string,
  episodeIndex: number,
  path: string,
  options: ContactSheetOptions = {},
): Promise<{ width: number; height: number; cameras: string[] }> {
  const { frames = 8, width = 160 } = options;
  const metadata = await LeRobotDatasetMetadata.load(root);
  const episode = metadata.episode(episodeIndex);
  const cameras = Object.keys(metadata.features).filter((key) => metadata.features[key]!.dtype === 'video');
  if (cameras.length === 0)
    throw new CraftError(
      'DATASET_KEY',
      `${metadata.root}: the dataset has no videos to make a contact sheet of`,
    );
  const count = Math.min(frames, episode.length);
  const rows: { rgb: Uint8Array; height: number }[] = [];
  for (const key of cameras) {
    using video = await VideoReader.open(metadata.videoPath(episode, key));
    const from = episode.videos[key]!.fromTimestamp;
    const height = Math.max(1, Math.round((video.height * width) / video.width));
    const row = new Uint8Array(count * width * height * 3);
    for (let i = 0; i < count; i++) {
      const frame = count === 1 ? 0 : Math.round((i * (episode.length - 1)) / (count - 1));
      const rgb = video.framesAt([from + frame / metadata.fps], { toleranceS: 0.5 / metadata.fps });
      shrinkInto(
        row,
        i * width,
        count * width,
        { rgb, width: video.width, height: video.height },
        width,
        height,
      );
    }
    rows.push({ rgb: row, height });
  }
  const height = rows.reduce((sum, row) => sum + row.height, 0);
  const sheet = Buffer.concat(rows.map(({ rgb }) => rgb));
  atomicWriteFile(path, await encodePng(sheet, count * width, height));
  return { width: count * width, height, cameras };
}

interface Picture {
  readonly rgb: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** Averages the pixels of each cell of `from` into one pixel of a width × height image at column `left` of `out`. */
function shrinkInto(
  out: Uint8Array,
  left: number,
  stride: number,
  from: Picture,
  width: number,
  height: number,
): void {
  for (let y = 0; y < height; y++) {
    const top = Math.floor((y * from.height) / height);
    const bottom = Math.max(top + 1, Math.floor(((y + 1) * from.height) / height));
    for (let x = 0; x < width; x++) {
      const start = Math.floor((x * from.width) / width);
      const end = Math.max(start + 1, Math.floor(((x + 1) * from.width) / width));
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (let row = top; row < bottom; row++)
          for (let column = start; column < end; column++)
            sum += from.rgb[(row * from.width + column) * 3 + channel]!;
        out[(y * stride + left + x) * 3 + channel] = Math.round(sum / ((bottom - top) * (end - start)));
      }
    }
  }
}
