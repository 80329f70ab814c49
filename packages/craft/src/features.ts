import { type HiddenStates, inEvaluationMode, type Policy, type TensorBatch } from '@craft-ft/policies';
import { arange, CraftError, scope, stack, type Tensor, where } from '@craft-ft/torch';

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

/** Which tokens' hidden states make the feature of a sample. */
export type Pooling = 'mean_image_tokens' | 'mean_masked' | 'last_token' | 'cls_token';

/** What a pooling needs besides the tensors. */
export interface PoolingOptions {
  /** Image tokens at the front of the sequence, as the model itself lays them out; needed by `mean_image_tokens`. */
  imageTokens?: number;
}

/**
 * One feature vector per sample from the hidden states of a sequence.
 *
 * `mean_image_tokens`: mean of the first `imageTokens` positions. The other three use the mask: `mean_masked` is the mean of the tokens
 * it marks, `last_token` the last of them and `cls_token` the first, wherever the padding is; a row without any token pools to zero. The
 * original assumes 196 image tokens when the number is unknown, and finds the last token by counting, which is wrong with padding on the
 * left.
 *
 * @param hiddenStates [batch, sequence, width], floating
 * @param attentionMask [batch, sequence], bool or integer, non-zero for tokens; of the whole sequence, image tokens included
 * @param pooling which of the four
 * @returns [batch, width], dtype of `hiddenStates`; gradients flow into the tokens that were taken
 * @throws CraftError `POOLING_SHAPE`; `POOLING_UNKNOWN`; `IMAGE_TOKENS` where their number is missing or not between 1 and the sequence
 * length
 *
 * @example
 * ```ts
 * const hidden = torch.tensor([[[1], [2], [3]]]);
 * poolHiddenStates(hidden, torch.tensor([[0, 1, 1]]), 'last_token').tolist(); // [[3]]
 * ```
 */
export function poolHiddenStates(
  hiddenStates: Tensor,
  attentionMask: Tensor,
  pooling: Pooling,
  { imageTokens }: PoolingOptions = {},
): Tensor {
  const [batch, length] = checkShapes(hiddenStates, attentionMask);
  return scope(() => {
    if (pooling === 'mean_image_tokens') {
      return hiddenStates.narrow(1, 0, checkImageTokens(imageTokens, length)).mean([1]);
    }
    const mask = attentionMask.ne(0);
    if (pooling === 'mean_masked') {
      const count = mask.sum([1], true).clamp(1);
      return hiddenStates.maskedFill(mask.logicalNot().unsqueeze(-1), 0).sum([1]).div(count);
    }
    const positions = arange(0, length, 1, { dtype: 'int64', device: hiddenStates.device }).expand([
      batch,
      length,
    ]);
    if (pooling === 'last_token') return pick(hiddenStates, where(mask, positions, -1).amax([1]), mask);
    if (pooling === 'cls_token') return pick(hiddenStates, where(mask, positions, length).amin([1]), mask);
    const known = 'mean_image_tokens, mean_masked, last_token or cls_token';
    throw new CraftError('POOLING_UNKNOWN', `pooling ${pooling} is unknown; use ${known}`);
  });
}

/** The hidden state at one position per row, zero where the row has no token. */
function pick(hiddenStates: Tensor, position: Tensor, mask: Tensor): Tensor {
  const [batch, length, width] = hiddenStates.shape;
  const index = position
    .clamp(0, length - 1)
    .view([batch, 1, 1])
    .expand([batch, 1, width]);
  const empty = mask.any(1).logicalNot().unsqueeze(-1);
  return hiddenStates.gather(1, index).squeeze(1).maskedFill(empty, 0);
}

function checkShapes(hiddenStates: Tensor, attentionMask: Tensor): number[] {
  const [hidden, mask] = [hiddenStates.shape, attentionMask.shape];
  if (hidden.length === 3 && mask.join() === hidden.slice(0, 2).join()) return hidden;
  const found = `hidden states [${hidden}], attention mask [${mask}]`;
  const expected = '[batch, sequence, width] and [batch, sequence]; extend a text mask over the image tokens';
  throw new CraftError('POOLING_SHAPE', `${found}: expected ${expected}`);
}

function checkImageTokens(imageTokens: number | undefined, length: number): number {
  if (
    imageTokens !== undefined &&
    Number.isInteger(imageTokens) &&
    imageTokens >= 1 &&
    imageTokens <= length
  ) {
    return imageTokens;
  }
  const found = imageTokens === undefined ? 'it is not given' : `${imageTokens} was given`;
  const expected = `the model's number of image tokens, from 1 to the sequence's ${length}`;
  throw new CraftError('IMAGE_TOKENS', `mean_image_tokens needs ${expected}; ${found}`);
}
