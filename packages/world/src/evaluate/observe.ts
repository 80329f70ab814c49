import type { TensorBatch } from '@craft-ft/policies';
import { fromTypedArray } from '@craft-ft/torch';
import type { Observation } from '../environment.js';
import type { EnvironmentDescription } from '../workers/host.js';
import { policyKeys } from './match-policy.js';

/**
 * Observations of several environments as one batch for a policy's processors: numbers [B, n], pictures float32 [B, 3, H, W] from 0 to 1
 * (LeRobot's `preprocess_observation`). A key that one of the observations lacks is left out: pictures that were not drawn.
 *
 * @param renameMap environment key to policy key
 */
export function observationBatch(
  observations: readonly Observation[],
  description: EnvironmentDescription,
  renameMap: Readonly<Record<string, string>> = {},
): TensorBatch {
  const batch: TensorBatch = {};
  const { observationFeatures: features } = description;
  for (const [key, name] of policyKeys(Object.keys(features), renameMap)) {
    const { dtype, shape } = features[key]!;
    if (observations.some((observation) => observation[key] === undefined)) continue;
    const width = shape.reduce((product, size) => product * size, 1);
    const all = new Float32Array(observations.length * width);
    observations.forEach((observation, i) => {
      const values = observation[key]!;
      const to = all.subarray(i * width, (i + 1) * width);
      if (dtype === 'uint8') channelsFirst(values, to);
      else to.set(values);
    });
    const [height = 0, columns = 0, channels = 0] = shape;
    const sizes = dtype === 'uint8' ? [channels, height, columns] : shape;
    batch[name] = fromTypedArray(all, [observations.length, ...sizes]);
  }
  return batch;
}

function channelsFirst(rgb: ArrayLike<number>, to: Float32Array): void {
  const pixels = to.length / 3;
  for (let pixel = 0; pixel < pixels; pixel++)
    for (let channel = 0; channel < 3; channel++)
      to[channel * pixels + pixel] = rgb[3 * pixel + channel]! / 255;
}
