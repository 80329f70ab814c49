import { CraftError } from '@craft-ft/torch';

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
