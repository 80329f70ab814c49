import { ActPolicy, parsePolicyConfig } from '@craft-ft/policies';
import {
  getRngState,
  manualSeed,
  randn,
  scope,
  setNumThreads,
  setRngState,
  type Tensor,
  zeros,
} from '@craft-ft/torch';
import { Optimization, type TrainingData } from '@craft-ft/training';

/** @file An ACT policy that trains in a moment, with endless batches made of random numbers. Sets libtorch to one thread. */

setNumThreads(1);

const CHUNK = 3;

/** @param more fields of the policy's configuration */
export function tinyAct(seed = 1, more: object = {}): ActPolicy {
  manualSeed(seed);
  const config = parsePolicyConfig(
    {
      type: 'act',
      chunk_size: CHUNK,
      n_action_steps: CHUNK,
      dim_model: 8,
      n_heads: 2,
      dim_feedforward: 16,
      n_encoder_layers: 2,
      n_vae_encoder_layers: 1,
      latent_dim: 4,
      pretrained_backbone_weights: null,
      input_features: { 'observation.state': { type: 'STATE', shape: [4] } },
      output_features: { action: { type: 'ACTION', shape: [2] } },
      ...more,
    },
    'tiny',
  );
  return new ActPolicy(config as ActPolicy['config']);
}

export function optimizationOf(policy: ActPolicy, lr = 1e-2, steps = 10): Optimization {
  const optimizer = { lr, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.01, grad_clip_norm: 10 } as const;
  return new Optimization(policy, { type: 'adamw', ...optimizer, betas: [0.9, 0.999] }, null, steps);
}

/** The batch of a step is a function of seed and step; libtorch's random state is left as it was. */
export class RandomBatches implements TrainingData {
  readonly framesPerEpoch = 12;
  /** Steps that were asked for. */
  readonly asked: number[] = [];

  constructor(
    readonly batchSize: number,
    private readonly seed: number,
    /** Changes a batch. */
    private readonly also: (batch: Record<string, Tensor>, step: number) => Record<string, Tensor> = (
      batch,
    ) => batch,
  ) {}

  async ready(): Promise<void> {}

  batch(step: number): Record<string, Tensor> {
    this.asked.push(step);
    return keepingRandomState(() => {
      manualSeed(this.seed * 1000 + step);
      const state = randn([this.batchSize, 4]);
      const action = randn([this.batchSize, CHUNK, 2]);
      const padded = zeros([this.batchSize, CHUNK], { dtype: 'bool' });
      return this.also({ 'observation.state': state, action, action_is_pad: padded }, step);
    });
  }

  async close(): Promise<void> {}
}

function keepingRandomState<T>(body: () => T): T {
  const before = getRngState().keep();
  try {
    return scope(body);
  } finally {
    setRngState(before);
    before.dispose();
  }
}
