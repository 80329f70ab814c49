import { noGrad, scope } from '@craft-ft/torch';
import type { LeRobotDataset } from '../datasets/dataset.js';
import { subsetIndex } from '../datasets/indices.js';
import type { Policy } from '../policies/policy.js';
import type { PolicyProcessors } from '../processors/pipeline.js';
import { toTensors } from './data-stream.js';

/** A policy's loss on a whole dataset. */
export interface LossEvaluation {
  /** Mean over the frames of the loss in evaluation mode (no dropout; ACT: the L1 error at latent zero). */
  loss: number;
  frames: number;
}

/**
 * The loss of a policy on every loaded frame of a dataset, each once, in order. Draws no random numbers and restores the policy's
 * mode.
 *
 * @param onProgress called with the frames done so far
 */
export function evaluateLoss(
  policy: Policy,
  processors: PolicyProcessors,
  dataset: LeRobotDataset,
  batchSize: number,
  onProgress: (frames: number) => void = () => {},
): LossEvaluation {
  const training = policy.training;
  policy.eval();
  let sum = 0;
  try {
    for (let start = 0; start < dataset.length; start += batchSize) {
      const count = Math.min(batchSize, dataset.length - start);
      const rows = Array.from({ length: count }, (_, i) => subsetIndex(start + i));
      sum +=
        count *
        scope(() =>
          noGrad(() => policy.call(processors.preprocess(toTensors(dataset.batch(rows)))).loss.item()),
        );
      onProgress(start + count);
    }
  } finally {
    policy.train(training);
  }
  return { loss: sum / dataset.length, frames: dataset.length };
}
