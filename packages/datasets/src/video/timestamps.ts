import { CraftError } from '@craft-ft/torch/errors';
import { nearest } from './packet-index.js';

/** How far a frame may be from the time asked for, seconds: LeRobot's `tolerance_s`. */
export const DEFAULT_TOLERANCE_S = 1e-4;

/** What is needed to tell which frame is meant by a time. */
export interface Timeline {
  readonly path: string;
  /** Presentation times, seconds, ascending. */
  readonly timestamps: Float64Array;
}

/**
 * Frame numbers for times, each the nearest frame's.
 *
 * @param times Seconds within the file.
 * @throws CraftError `VIDEO_TIMESTAMP` naming the file, the time and the nearest frame's time.
 */
export function framesNear(
  video: Timeline,
  times: ArrayLike<number>,
  toleranceS = DEFAULT_TOLERANCE_S,
): Int32Array {
  return Int32Array.from(times, (time) => {
    const frame = nearest(video.timestamps, time);
    const found = video.timestamps[frame]!;
    // A NaN fails this comparison too.
    if (Math.abs(found - time) <= toleranceS) return frame;
    throw new CraftError(
      'VIDEO_TIMESTAMP',
      `${video.path}: no frame at ${seconds(time)} s; the nearest, number ${frame}, is at ${seconds(found)} s, more than the ` +
        `tolerance of ${toleranceS} s away; check the dataset's fps and from_timestamp, or raise tolerance_s`,
    );
  });
}

/** Seconds with as many digits as tell neighbouring frames and float errors apart. */
export function seconds(time: number): string {
  return String(Number(time.toFixed(6)));
}
