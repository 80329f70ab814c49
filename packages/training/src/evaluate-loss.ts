import type { LeRobotDataset } from '@craft-ft/datasets';
import { FrameLoader, subsetIndex } from '@craft-ft/datasets';
import { LossMean, type Policy, type PolicyProcessors } from '@craft-ft/policies';
import { noGrad, scope } from '@craft-ft/torch';
import { CameraBatches, toTensors, toTexts } from './data-stream.js';

/** A policy's loss on a whole dataset. */
export interface LossEvaluation {
  /**
   * The loss in evaluation mode (no dropout; ACT: the L1 error at latent zero): the mean over every valid element of the dataset, such as
   * the steps of ACT's chunks that are not padding or π0-FAST's action tokens, whatever the batch size.
   */
  loss: number;
  frames: number;
}

/**
 * The loss of a policy on every loaded frame of a dataset, each once, in order. Draws no random numbers and restores the policy's
 * mode.
 *
 * @param onProgress called with the frames done so far
 */
export async function evaluateLoss(
  policy: Policy,
  processors: PolicyProcessors,
  dataset: LeRobotDataset,
  batchSize: number,
  onProgress: (frames: number) => void = () => {},
): Promise<LossEvaluation> {
  const training = policy.training;
  const batches = new CameraBatches(policy.config.input_features, null, 0);
  const loader = batches.cameras.length === 0 ? null : new FrameLoader(dataset, { cameras: batches.cameras });
  policy.eval();
  const mean = new LossMean();
  try {
    for (let start = 0; start < dataset.length; start += batchSize) {
      const count = Math.min(batchSize, dataset.length - start);
      const rows = Array.from({ length: count }, (_, i) => subsetIndex(start + i));
      const numbers = dataset.batch(rows);
      const frames = loader === null ? {} : await loader.loadBatch(numbers);
      scope(() =>
        noGrad(() => {
          const batch = { ...toTensors(numbers), ...batches.tensors(frames, rows) };
          mean.add(policy.call(processors.preprocess(batch, toTexts(numbers))), count);
        }),
      );
      loader?.release(frames);
      onProgress(start + count);
    }
  } finally {
    policy.train(training);
    await loader?.close();
  }
  return { loss: mean.loss, frames: dataset.length };
}
