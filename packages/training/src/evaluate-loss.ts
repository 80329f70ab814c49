import type { LeRobotDataset } from '@craft-ft/datasets';
import { FrameLoader, subsetIndex } from '@craft-ft/datasets';
import type { Policy, PolicyProcessors } from '@craft-ft/policies';
import { noGrad, scope } from '@craft-ft/torch';
import { CameraBatches } from './camera-batches.js';
import { toTensors, toTexts } from './data-stream.js';

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
  let sum = 0;
  try {
    for (let start = 0; start < dataset.length; start += batchSize) {
      const count = Math.min(batchSize, dataset.length - start);
      const rows = Array.from({ length: count }, (_, i) => subsetIndex(start + i));
      const numbers = dataset.batch(rows);
      const frames = loader === null ? {} : await loader.loadBatch(numbers);
      sum += scope(() =>
        noGrad(() => {
          const batch = { ...toTensors(numbers), ...batches.tensors(frames, rows) };
          return count * policy.call(processors.preprocess(batch, toTexts(numbers))).loss.item();
        }),
      );
      loader?.release(frames);
      onProgress(start + count);
    }
  } finally {
    policy.train(training);
    await loader?.close();
  }
  return { loss: sum / dataset.length, frames: dataset.length };
}
