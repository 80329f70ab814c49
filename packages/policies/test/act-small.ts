import { type ActConfig, actConfigSchema } from '../src/act/configuration.js';

/** @file An ACT that trains in a moment. */

/** Its sizes; the features come from a dataset, or from {@link smallAct}. */
export const SMALL_ACT = {
  type: 'act',
  device: 'cpu',
  chunk_size: 4,
  n_action_steps: 4,
  dim_model: 16,
  n_heads: 2,
  dim_feedforward: 32,
  n_encoder_layers: 1,
  n_vae_encoder_layers: 1,
  latent_dim: 4,
};

/** Its configuration, from a state [3] to an action [2], some fields changed. */
export function smallAct(changes: object = {}): ActConfig {
  return actConfigSchema.parse({
    ...SMALL_ACT,
    input_features: { 'observation.state': { type: 'STATE', shape: [3] } },
    output_features: { action: { type: 'ACTION', shape: [2] } },
    ...changes,
  });
}
