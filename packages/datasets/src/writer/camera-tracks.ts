import { renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CraftError, explainWriteError, makeFolder, StagedFile } from '@craft-ft/torch';
import { formatPath } from '../dataset/dataset-files.js';
import type { VideoSegment } from '../dataset/metadata-formats.js';
import { countedStats, type FeatureStats, quantileNames } from '../dataset/stats.js';
import { VideoEncoder, type VideoEncoding } from '../video/encoder.js';
import { concatenateVideos } from '../video/mp4.js';
import { type FileSlot, nextSlot, type Staged, type StoredImage } from './data-files.js';
import type { ImageSink } from './episode-buffer.js';
import { encodePng } from './png.js';

interface VideoTrackOptions {
  readonly root: string;
  readonly key: string;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  readonly encoding: VideoEncoding;
  /** Path template from info.json. */
  readonly videoPath: string;
  /** No episode is appended to a file that would then reach this size. */
  readonly maxBytes: number;
  readonly chunksSize: number;
  /** The first file to write. */
  readonly first: FileSlot;
}

/** The file that the next episode may be appended to. */
interface CurrentFile {
  readonly slot: FileSlot;
  readonly bytes: number;
  readonly frames: number;
}

/**
 * One camera's video files. The open episode is encoded into a file of its own while it is recorded; saving it copies the
 * packets of the current file and its own into a new version of the current file.
 */
export class VideoTrack implements ImageSink {
  readonly #options: VideoTrackOptions;
  readonly #stats: ImageStats;
  #encoder: VideoEncoder | undefined;
  #current: CurrentFile | undefined;

  constructor(options: VideoTrackOptions) {
    this.#options = options;
    this.#stats = new ImageStats(options.width, options.height);
  }

  /** Statistics of the open episode. */
  stats(): FeatureStats {
    return this.#stats.compute();
  }

  /** @throws CraftError `VIDEO_LIBRARY`, `VIDEO_ENCODER`, `DISK_FULL`, `VIDEO_WRITE`. */
  add(rgb: Uint8Array | Uint8ClampedArray): void {
    this.#encoder ??= this.#begin();
    this.#encoder.add(rgb);
    this.#stats.add(rgb);
  }

  #begin(): VideoEncoder {
    const { root, key, width, height, fps, encoding } = this.#options;
    const { temporary } = new StagedFile(join(root, 'videos', key, 'episode.mp4'));
    makeFolder(dirname(temporary));
    return VideoEncoder.create(temporary, { width, height, fps, ...encoding });
  }

  /**
   * Ends the open episode's video and writes the file that holds it.
   *
   * @throws CraftError `DISK_FULL`, `VIDEO_WRITE`, `VIDEO_INVALID` if something else has changed the current file.
   */
  async stage(): Promise<Staged<VideoSegment>> {
    const { root, key, fps, videoPath, maxBytes, chunksSize, first } = this.#options;
    const encoder = this.#encoder!;
    await encoder.finish();
    const bytes = statSync(encoder.path).size;
    const current = this.#current;
    const continued = current !== undefined && current.bytes + bytes < maxBytes;
    const slot = continued
      ? current.slot
      : current === undefined
        ? first
        : nextSlot(current.slot, chunksSize);
    const from = continued ? current.frames : 0;
    const path = formatPath(root, videoPath, {
      video_key: key,
      chunk_index: slot.chunk,
      file_index: slot.file,
    });
    makeFolder(dirname(path));
    const file = new StagedFile(path);
    try {
      if (continued) await append(path, encoder.path, file.temporary, fps, from + encoder.frames);
      else renameSync(encoder.path, file.temporary);
      file.flush();
    } catch (error) {
      file.discard();
      throw explainWriteError(error, path);
    }
    const now: CurrentFile = {
      slot,
      bytes: statSync(file.temporary).size,
      frames: from + encoder.frames,
    };
    return {
      files: [file],
      value: {
        chunkIndex: slot.chunk,
        fileIndex: slot.file,
        fromTimestamp: from / fps,
        toTimestamp: now.frames / fps,
      },
      accept: () => {
        this.#current = now;
      },
    };
  }

  /** Discards the open episode, saved or not. */
  clear(): void {
    this.#stats.clear();
    const encoder = this.#encoder;
    if (encoder === undefined) return;
    this.#encoder = undefined;
    encoder.abort();
    rmSync(encoder.path, { force: true });
  }
}

async function append(
  path: string,
  episode: string,
  to: string,
  fps: number,
  expected: number,
): Promise<void> {
  const frames = await concatenateVideos([path, episode], to, fps);
  if (frames === expected) return;
  throw new CraftError(
    'VIDEO_INVALID',
    `${path}: with the new episode it has ${frames} frames, expected ${expected}; was it changed while recording? Open the dataset again`,
  );
}

/** The images of a feature of dtype `image` in the open episode, compressed as they arrive. */
export class ImageTrack implements ImageSink {
  readonly #width: number;
  readonly #height: number;
  readonly #stats: ImageStats;
  #images: (Uint8Array | Promise<Uint8Array>)[] = [];

  constructor(width: number, height: number) {
    this.#width = width;
    this.#height = height;
    this.#stats = new ImageStats(width, height);
  }

  add(rgb: Uint8Array | Uint8ClampedArray): void {
    this.#images.push(encodePng(rgb, this.#width, this.#height));
    this.#stats.add(rgb);
  }

  /** Statistics of the open episode. */
  stats(): FeatureStats {
    return this.#stats.compute();
  }

  async images(): Promise<StoredImage[]> {
    const images = await Promise.all(this.#images);
    return images.map((bytes, frame) => ({ bytes, path: `frame-${String(frame).padStart(6, '0')}.png` }));
  }

  clear(): void {
    this.#images = [];
    this.#stats.clear();
  }
}

const CHANNELS = 3;
const LEVELS = 256;

/**
 * Statistics of one camera over an episode, as LeRobot's `compute_stats.py`: about n^0.75 frames evenly spread (at least 100,
 * at most 10,000), each thinned to about 150 pixels; per channel, values divided by 255; `count` is the number of sampled frames.
 * (LeRobot datasets of 2025 have a std of 0 for cameras, from an overflow; here it is the standard deviation.)
 *
 * Which frames are sampled is known only at the end of the episode, so a histogram of every frame is kept, 3 kB, and no pixels.
 */
export class ImageStats {
  readonly #width: number;
  readonly #height: number;
  readonly #step: number;
  #histograms: Uint32Array[] = [];

  constructor(width: number, height: number) {
    this.#width = width;
    this.#height = height;
    this.#step = thinning(width, height);
  }

  /** Adds a frame, RGB [H, W, 3]. */
  add(rgb: ArrayLike<number>): void {
    const counts = new Uint32Array(CHANNELS * LEVELS);
    const row = this.#width * CHANNELS;
    for (let y = 0; y < this.#height; y += this.#step) {
      for (let x = 0; x < row; x += this.#step * CHANNELS) {
        const at = y * row + x;
        counts[rgb[at]!]!++;
        counts[LEVELS + rgb[at + 1]!]!++;
        counts[2 * LEVELS + rgb[at + 2]!]!++;
      }
    }
    this.#histograms.push(counts);
  }

  clear(): void {
    this.#histograms = [];
  }

  /** Statistics of the frames added, shape [3, 1, 1]. */
  compute(): FeatureStats {
    const sampled = sampleIndices(this.#histograms.length);
    const channels = Array.from({ length: CHANNELS }, (_, channel) => {
      const counts = new Float64Array(LEVELS);
      for (const frame of sampled) {
        for (let level = 0; level < LEVELS; level++) {
          counts[level]! += this.#histograms[frame]![channel * LEVELS + level]!;
        }
      }
      return countedStats(counts);
    });
    const pick = (name: keyof (typeof channels)[number]): number[] =>
      channels.map((channel) => channel[name] / 255);
    return {
      shape: [CHANNELS, 1, 1],
      count: sampled.length,
      min: pick('min'),
      max: pick('max'),
      mean: pick('mean'),
      std: pick('std'),
      ...Object.fromEntries(quantileNames.map((name) => [name, pick(name)])),
    };
  }
}

/** Which frames of an episode are sampled: `compute_stats.py: sample_indices`. */
export function sampleIndices(frames: number): number[] {
  const samples = Math.max(Math.min(100, frames), Math.min(Math.floor(frames ** 0.75), 10_000));
  const step = samples === 1 ? 0 : (frames - 1) / (samples - 1);
  return Array.from({ length: samples }, (_, i) => roundHalfToEven(i * step));
}

/** As numpy rounds. */
function roundHalfToEven(x: number): number {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

/** Stride between the sampled pixels: `compute_stats.py: auto_downsample_height_width`. */
function thinning(width: number, height: number): number {
  const longer = Math.max(width, height);
  return longer < 300 ? 1 : Math.floor(longer / 150);
}
