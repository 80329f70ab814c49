import { countedStats } from './compute-stats.js';
import { type FeatureStats, quantileNames } from './stats.js';

const CHANNELS = 3;
const LEVELS = 256;

/**
 * Statistics of one camera over an episode, as LeRobot's `compute_stats.py`: about n^0.75 frames evenly spread (at least 100,
 * at most 10,000), each thinned to about 150 pixels; per channel, values divided by 255; `count` is the number of sampled frames.
 * (LeRobot datasets of 2025 have a std of 0 for cameras, from an overflow; here it is the standard deviation.)
 *
 * Which frames are sampled is known only at the episode's end, so every frame leaves its histogram, 3 kB, and no pixels.
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

/** Which of an episode's frames are looked at: `compute_stats.py: sample_indices`. */
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

/** Every how many pixels are looked at: `compute_stats.py: auto_downsample_height_width`. */
function thinning(width: number, height: number): number {
  const longer = Math.max(width, height);
  return longer < 300 ? 1 : Math.floor(longer / 150);
}
