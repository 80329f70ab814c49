import { cat, noGrad, type optim, scope, type Tensor, tensor } from '@craft-ft/torch';
import { ActionQueue } from '../action-queue.js';
import { type HiddenStates, inEvaluationMode, Policy, type PolicyOutput, requireInput } from '../policy.js';
import type { TensorBatch } from '../processors/step.js';
import type { ActConfig } from './configuration.js';
import { ActModel, klDivergence } from './model.js';

/**
 * ACT as LeRobot's `modeling_act.py: ACTPolicy`.
 *
 * The loss is the masked L1 error, plus `kl_weight` times the KL divergence when training with the VAE; metrics are `l1_loss` and
 * `kld_loss`. In evaluation mode the latent variable is zero and the loss is the L1 error alone.
 *
 * @example
 * ```ts
 * const policy = makePolicy(config, { features: dataset.features });
 * const { loss } = policy.call(processors.preprocess(batch));
 * loss.backward();
 * ```
 */
export class ActPolicy extends Policy<ActConfig> {
  readonly model: ActModel;
  readonly #ensemble: TemporalEnsemble | null;
  readonly #queue: ActionQueue;

  /** @throws CraftError `POLICY_FEATURES`, `POLICY_BACKBONE` */
  constructor(config: ActConfig) {
    super(config);
    this.model = new ActModel(config);
    this.#queue = new ActionQueue(config.n_action_steps);
    const { temporal_ensemble_coeff: coefficient, chunk_size: chunk } = config;
    this.#ensemble = coefficient === null ? null : new TemporalEnsemble(coefficient, chunk);
  }

  override forward(batch: TensorBatch): PolicyOutput {
    const { name, shape } = this.model.features.action;
    const chunk = this.config.chunk_size;
    const target = requireInput(batch, name, [chunk, ...shape]);
    const padded = requireInput(batch, `${name}_is_pad`, [chunk]);
    const { actions, posterior } = this.model.call(batch);
    const l1 = maskedL1(actions, target, padded);
    const count = padded.logicalNot().sum();
    if (posterior === null) return { loss: l1, metrics: { l1_loss: l1.detach() }, count };
    const kld = klDivergence(posterior);
    const { kl_weight: weight } = this.config;
    return {
      loss: l1.add(kld.mul(weight)),
      metrics: { l1_loss: l1.detach(), kld_loss: kld.detach() },
      count,
      // The L1 error is a mean over unpadded steps, the divergence one over samples.
      parts: { l1_loss: { weight: 1, count }, kld_loss: { weight, count: padded.size(0) } },
    };
  }

  override predictActionChunk(batch: TensorBatch): Tensor {
    this.onPrediction?.();
    return this.evaluating(() => this.model.call(batch).actions);
  }

  /** Hidden states of the transformer encoder: latent, state and environment tokens, then every camera's grid. */
  override hiddenStates(batch: TensorBatch): HiddenStates {
    return this.model.hiddenStates(batch);
  }

  override actionsForDistillation(batch: TensorBatch): Tensor {
    return inEvaluationMode(this, () => this.model.call(batch).actions);
  }

  override selectAction(observation: TensorBatch): Tensor {
    if (this.#ensemble !== null) return this.#ensemble.update(this.predictActionChunk(observation));
    return this.#queue.next(() => this.predictActionChunk(observation));
  }

  /** Always 0 with temporal ensembling. */
  override get queuedActions(): number {
    return this.#queue.left;
  }

  override reset(): void {
    this.#ensemble?.reset();
    this.#queue.reset();
  }

  /** Everything but the image backbone, then the backbone at its own rate. Without cameras the second group is empty. */
  override parameterGroups(): optim.ParameterGroup[] {
    const isBackbone = (name: string) => name.startsWith('model.backbone');
    const trainable = this.namedParameters().filter(([, parameter]) => parameter.requiresGrad);
    return [
      { parameters: trainable.filter(([name]) => !isBackbone(name)) },
      { parameters: trainable.filter(([name]) => isBackbone(name)), lr: this.config.optimizer_lr_backbone },
    ];
  }
}

/**
 * Mean |target − actions| over the steps that are not padding, of the whole batch: scalar. 0 where all are padding.
 *
 * Older LeRobot versions divided by the number of all steps.
 *
 * @param actions `[B, chunk, a]`
 * @param target `[B, chunk, a]`
 * @param padded bool `[B, chunk]`, true for steps beyond the episode's end
 */
function maskedL1(actions: Tensor, target: Tensor, padded: Tensor): Tensor {
  const valid = padded.logicalNot().unsqueeze(-1);
  const count = valid.sum().mul(target.size(-1)).clampMin(1);
  return target.sub(actions).abs().mul(valid).sum().div(count);
}

/**
 * Averages the predictions of overlapping chunks for the same step, with weight exp(−coefficient · i) for the i-th oldest
 * prediction (Zhao et al., 2023, algorithm 2; LeRobot's `ACTTemporalEnsembler`). A positive coefficient favours old predictions.
 *
 * Kept as a running average: memory does not grow.
 */
export class TemporalEnsemble {
  readonly #weights: readonly number[];
  /** `sums[n]`: sum of the first n + 1 weights. */
  readonly #sums: readonly number[];
  /** Averages for the coming steps, `[B, chunk - 1, a]`. */
  #averages: Tensor | null = null;
  /** Number of predictions in each average. */
  #counts: number[] = [];

  constructor(coefficient: number, chunkSize: number) {
    this.#weights = Array.from({ length: chunkSize }, (_, i) => Math.exp(-coefficient * i));
    let sum = 0;
    this.#sums = this.#weights.map((weight) => {
      sum += weight;
      return sum;
    });
  }

  /** Forgets all predictions. */
  reset(): void {
    this.#averages?.dispose();
    this.#averages = null;
    this.#counts = [];
  }

  /**
   * Adds the chunk predicted at this step and returns the action for it.
   *
   * @param chunk `[B, chunk, a]`
   * @returns `[B, a]`
   */
  update(chunk: Tensor): Tensor {
    return scope(() =>
      noGrad(() => {
        const merged = this.#merge(chunk);
        const [, ...later] = this.#countsWith(chunk.size(1));
        this.#averages?.dispose();
        this.#averages = merged.narrow(1, 1, later.length).clone().keep();
        this.#counts = later;
        return merged.select(1, 0).clone();
      }),
    );
  }

  /** Averages the chunk with earlier predictions for the same steps; its last step is new. */
  #merge(chunk: Tensor): Tensor {
    if (this.#averages === null) return chunk;
    const known = this.#counts.length;
    const column = (values: number[]) =>
      tensor(values, { device: chunk.device, dtype: chunk.dtype, shape: [values.length, 1] });
    const before = column(this.#counts.map((count) => this.#sums[count - 1]! / this.#sums[count]!));
    const share = column(this.#counts.map((count) => this.#weights[count]! / this.#sums[count]!));
    const averages = this.#averages.mul(before).add(chunk.narrow(1, 0, known).mul(share));
    return cat([averages, chunk.narrow(1, known, 1)], 1);
  }

  #countsWith(chunkSize: number): number[] {
    if (this.#averages === null) return Array<number>(chunkSize).fill(1);
    return [...this.#counts.map((count) => count + 1), 1];
  }
}
