import { type HiddenStates, inEvaluationMode, type Policy, type TensorBatch } from '@craft-ft/policies';
import { CraftError, scope, stack, type Tensor } from '@craft-ft/torch';
import { type Pooling, poolHiddenStates } from './pool-hidden.js';

/** Which features of a policy are kept: every pooling of every layer. */
export interface FeatureSpec {
  /** Indices into the n_layers + 1 hidden states (0: embeddings, last: after the final norm); negative ones count from the end. */
  readonly layers: readonly number[];
  readonly poolings: readonly Pooling[];
}

/** The output of the second-to-last layer, averaged over every token. */
export const DEFAULT_FEATURES: FeatureSpec = { layers: [-2], poolings: ['mean_masked'] };

/**
 * Pooled hidden states of a policy. The one function for teacher and student: both see the same layer indices, the same sequence
 * and the same image tokens, which the policy itself locates.
 *
 * Runs in evaluation mode and restores the mode it found. Gradients flow, unless the caller turned recording off. Masked image
 * tokens (an absent camera) are left out of `mean_image_tokens`.
 *
 * @param batch preprocessed observations
 * @returns `[B, n_layers, n_poolings, H]` in the dtype of the hidden states
 * @throws CraftError `POLICY_HIDDEN_STATES`; `FEATURE_LAYER` for a layer that the policy lacks; `IMAGE_TOKENS` where
 * `mean_image_tokens` is asked of a policy without cameras; `POOLING_UNKNOWN`
 */
export function extractFeatures(policy: Policy, batch: TensorBatch, spec: FeatureSpec): Tensor {
  return scope(() => {
    const states = inEvaluationMode(policy, () => policy.hiddenStates(batch));
    const layers = spec.layers.map((index) => layerAt(states.layers, index));
    return stack(
      layers.map((layer) =>
        stack(
          spec.poolings.map((pooling) => pool(layer, states, pooling)),
          1,
        ),
      ),
      1,
    );
  });
}

function layerAt(layers: readonly Tensor[], index: number): Tensor {
  const layer = layers.at(index);
  if (layer !== undefined) return layer;
  const last = layers.length - 1;
  throw new CraftError(
    'FEATURE_LAYER',
    `layer ${index} does not exist: the policy has ${last} layers, so 0 (embeddings) to ${last}, or ${-layers.length} to -1`,
  );
}

function pool(layer: Tensor, { mask, image }: HiddenStates, pooling: Pooling): Tensor {
  if (pooling !== 'mean_image_tokens') return poolHiddenStates(layer, mask, pooling);
  if (image.length === 0) {
    const remedy = 'use mean_masked';
    throw new CraftError('IMAGE_TOKENS', `mean_image_tokens: the policy sees no camera; ${remedy}`);
  }
  const part = (tensor: Tensor) => tensor.narrow(1, image.start, image.length);
  return poolHiddenStates(part(layer), part(mask), 'mean_masked');
}
