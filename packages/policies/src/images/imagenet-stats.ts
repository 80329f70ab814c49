import { tensor } from '@craft-ft/torch';
import type { StatTensors } from '../processors/stats.js';

/** Mean and standard deviation of ImageNet's training images, red, green, blue, in [0, 1]. */
export const IMAGENET_MEAN = [0.485, 0.456, 0.406] as const;
export const IMAGENET_STD = [0.229, 0.224, 0.225] as const;

/**
 * ImageNet's statistics for cameras, `[3, 1, 1]`, to lay over a dataset's own (`dataset.use_imagenet_stats`). Only mean and std, as
 * in LeRobot's `datasets/factory.py`; other statistics stay the dataset's. They belong to no scope.
 *
 * @example
 * ```ts
 * const stats = new Map([...statTensors(dataset.stats), ...imagenetStats(['observation.images.top'])]);
 * ```
 */
export function imagenetStats(cameras: readonly string[]): StatTensors {
  const perChannel = (values: readonly number[]) =>
    tensor(Float32Array.from(values), { shape: [3, 1, 1] }).keep();
  return new Map(
    cameras.flatMap((camera) => [
      [`${camera}.mean`, perChannel(IMAGENET_MEAN)] as const,
      [`${camera}.std`, perChannel(IMAGENET_STD)] as const,
    ]),
  );
}
