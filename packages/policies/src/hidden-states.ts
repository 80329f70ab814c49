import type { Tensor } from '@craft-ft/torch';

/**
 * What a policy's backbone makes of its observations, layer by layer.
 *
 * One convention for every policy, teachers and students alike: entry 0 is the sequence of embeddings that enters the first layer,
 * entry i the output of layer i, and the last one lies after the final normalisation, where there is one. So n layers have n + 1
 * entries, and a negative index counts from the end: −1 is the final output, −2 the output of the second-to-last layer.
 */
export interface HiddenStates {
  /** n_layers + 1 tensors, each `[B, L, H]`; gradients flow into them. */
  readonly layers: readonly Tensor[];
  /** Which positions hold a token: bool `[B, L]`. */
  readonly mask: Tensor;
  /** Where the image tokens of all cameras lie in the sequence; length 0 where there are none. */
  readonly image: { readonly start: number; readonly length: number };
}
