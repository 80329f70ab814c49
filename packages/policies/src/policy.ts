import { CraftError, nn, noGrad, type optim, type Tensor } from '@craft-ft/torch';
import type { PolicyFeatures } from './config/policy-fields.js';
import type { TensorBatch } from './processors/step.js';
import type { PolicyConfig } from './registry.js';

/** What a policy's `forward` returns in training. */
export interface PolicyOutput {
  /** Scalar, to be minimised. */
  loss: Tensor;
  /** Its parts, for the log: scalars without a graph. */
  metrics: Record<string, Tensor | number>;
  /**
   * Number of elements that `loss` and the metrics are averaged over: unpadded steps, valid tokens. A scalar tensor if the number
   * is on the device. Default: the batch size. {@link LossMean} weights batches by it.
   */
  count?: Tensor | number;
  /** For a loss that is a sum of means over different elements: Σ weight · metric over these metrics, each with its own count. */
  parts?: Record<string, LossPart>;
}

/** A metric that is a term of the loss. */
export interface LossPart {
  weight: number;
  /** Number of elements that the metric is averaged over. */
  count: Tensor | number;
}

/**
 * A policy as LeRobot's `PreTrainedPolicy`: state dict names equal LeRobot's, batches hold normalised tensors by LeRobot's keys
 * (see `PolicyProcessors`).
 */
export abstract class Policy<C extends PolicyConfig = PolicyConfig> extends nn.Module {
  /** The configuration with its features filled in; what `config.json` holds. */
  readonly config: C;
  /** Called by policies before they predict a chunk of actions; see `PolicyProcessors.follow`. */
  onPrediction: (() => void) | null = null;

  constructor(config: C) {
    super();
    this.config = config;
  }

  /**
   * The loss of a batch of observations and actions. Call through `call`.
   *
   * @throws CraftError `POLICY_INPUT` for a key that is missing or of the wrong shape
   */
  abstract override forward(batch: TensorBatch): PolicyOutput;

  /** The next chunk of actions, normalised: `[B, chunk, a]`. Runs in evaluation mode and without a graph, whatever the current mode. */
  abstract predictActionChunk(batch: TensorBatch): Tensor;

  /** The next action, normalised: `[B, a]`. Keeps a queue: call `reset` at the start of an episode. */
  abstract selectAction(observation: TensorBatch): Tensor;

  /**
   * How many of the next calls of `selectAction` will return actions that are already predicted, whatever the observation: while it
   * is not 0, no images need to be captured. Default 0: every call uses its observation.
   */
  get queuedActions(): number {
    return 0;
  }

  /** Clears what `selectAction` remembers of the episode. */
  abstract reset(): void;

  /** The trainable parameters, each in exactly one group; groups are LeRobot's, in its order, and may be empty. */
  abstract parameterGroups(): optim.ParameterGroup[];

  /**
   * The backbone's hidden states on a batch of observations; actions in the batch are ignored. The caller chooses training or
   * evaluation mode, which affects dropout only: nothing is sampled from a posterior.
   *
   * @throws CraftError `POLICY_HIDDEN_STATES` if the policy has none; `POLICY_INPUT`
   */
  hiddenStates(_batch: TensorBatch): HiddenStates {
    const message = `policy.type=${this.config.type} has no hidden states to compare`;
    throw new CraftError(
      'POLICY_HIDDEN_STATES',
      `${message}; use another craft.retention_mode, such as loss`,
    );
  }

  /**
   * The next chunk of actions with its autograd graph, normalised: `[B, chunk, a]`. Deterministic: no dropout, and the mean of any
   * latent variable. The mode is restored.
   *
   * @throws CraftError `POLICY_NO_ACTION_GRAPH` if actions are not a differentiable function of the weights; `POLICY_INPUT`
   */
  actionsForDistillation(_batch: TensorBatch): Tensor {
    const message = `policy.type=${this.config.type} chooses actions in steps that have no gradient`;
    throw new CraftError(
      'POLICY_NO_ACTION_GRAPH',
      `${message}; use another craft.retention_mode, such as token_ce or loss`,
    );
  }

  /** Runs `body` in evaluation mode without recording a graph, then restores the mode. */
  protected evaluating<T>(body: () => T): T {
    return inEvaluationMode(this, () => noGrad(body));
  }
}

/**
 * Takes a tensor out of a batch and checks its shape.
 *
 * @param shape without the batch dimension
 * @throws CraftError `POLICY_INPUT` naming the key
 */
export function requireInput(batch: TensorBatch, key: string, shape: readonly number[]): Tensor {
  const values = batch[key];
  if (values === undefined) {
    const message = `the batch has no "${key}", which the policy needs; it has ${Object.keys(batch).join(', ')}`;
    throw new CraftError('POLICY_INPUT', message);
  }
  const found = values.shape;
  if (found.length !== shape.length + 1 || shape.some((size, i) => size !== found[i + 1])) {
    const message = `"${key}" has shape [${found.join(', ')}], the policy expects [batch, ${shape.join(', ')}]`;
    throw new CraftError('POLICY_INPUT', message);
  }
  return values;
}

/** The first feature that fits, with its name; undefined if there is none. */
export function findFeature(
  features: PolicyFeatures,
  fits: (name: string, type: string) => boolean,
): { name: string; shape: readonly number[] } | undefined {
  const found = Object.entries(features).find(([name, { type }]) => fits(name, type));
  return found === undefined ? undefined : { name: found[0], shape: found[1].shape };
}

/**
 * Hidden states of a policy's backbone on a batch of observations, layer by layer.
 *
 * The convention is the same for every policy, teacher and student: entry 0 is the sequence of embeddings that enters the first
 * layer, entry i the output of layer i, and the last entry is taken after the final normalisation, if there is one. So n layers
 * have n + 1 entries, and a negative index counts from the end: −1 is the final output, −2 the output of the second-to-last layer.
 */
export interface HiddenStates {
  /** n_layers + 1 tensors, each `[B, L, H]`; gradients flow into them. */
  readonly layers: readonly Tensor[];
  /** Which positions hold a token: bool `[B, L]`. */
  readonly mask: Tensor;
  /** Range of the image tokens of all cameras in the sequence; length 0 if there are none. */
  readonly image: { readonly start: number; readonly length: number };
}

/**
 * Runs `body` with a module in evaluation mode (no dropout), then restores the mode of every module below it, also after an error.
 *
 * Gradients flow. If `body` uses `torch.checkpoint`, run the backward pass inside it too, since that recomputes the forward pass.
 */
export function inEvaluationMode<T>(module: nn.Module, body: () => T): T {
  const before = module.namedModules().map(([, each]) => [each, each.training] as const);
  module.eval();
  try {
    return body();
  } finally {
    for (const [each, training] of before) each.training = training;
  }
}

/** The language model inside a policy. */
export interface LanguageModel {
  /** Its tokeniser, as `TextTokenizer` loads it. */
  readonly tokenizerName: string;
  /** [height, width] that images must have. */
  readonly imageSize: readonly [number, number];
  /**
   * ln p of every suffix given the images and the prefix, summed over its tokens. The caller sets the evaluation mode.
   *
   * @param images `[3, height, width]` in [-1, 1]; may be empty
   * @param prefix token ids
   * @param suffixes token ids, at least one each
   */
  suffixLogProbs(
    images: readonly Tensor[],
    prefix: readonly number[],
    suffixes: readonly (readonly number[])[],
  ): number[];
}
