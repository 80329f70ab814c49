import type { optim, Tensor } from '@craft-ft/torch';
import { ActionQueue } from '../action-queue.js';
import { inEvaluationMode } from '../evaluation-mode.js';
import type { HiddenStates } from '../hidden-states.js';
import { Policy, type PolicyOutput, requireInput } from '../policy.js';
import type { TensorBatch } from '../processors/step.js';
import type { ActConfig } from './configuration.js';
import { klDivergence } from './latent.js';
import { maskedL1 } from './loss.js';
import { ActModel } from './model.js';
import { TemporalEnsemble } from './temporal-ensemble.js';

/**
 * ACT as LeRobot's `modeling_act.py: ACTPolicy`.
 *
 * The loss is the masked L1 error, in training with the VAE plus `kl_weight` times the KL divergence; metrics are `l1_loss` and
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
    return this.evaluating(() => this.model.call(batch).actions);
  }

  /** Of the transformer encoder: latent, state and environment tokens, then every camera's grid. */
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

  /** With temporal ensembling always 0. */
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
