import type { Policy, PolicyOutput, TensorBatch } from '@craft-ft/policies';
import { LossMean } from '@craft-ft/policies/loss-mean';
import { CraftError, type optim, scope, type Tensor } from '@craft-ft/torch';
import type { LazyBatch } from './micro-batches.js';
import type { Optimization } from './optimization.js';
import type { StepReport, UpdateStrategy } from './strategy.js';

/** Plain fine-tuning: the gradient of the task loss, clipped, to AdamW. */
export class BaselineStrategy implements UpdateStrategy {
  readonly name = 'baseline';
  readonly logFreq = 0;
  readonly #gradient;

  constructor(
    private readonly policy: Policy,
    private readonly optimization: Optimization,
  ) {
    this.#gradient = optimization.parameters.gradBuffer();
  }

  async begin(): Promise<string[]> {
    return [];
  }

  async ready(): Promise<void> {}

  update(step: number, batches: readonly LazyBatch[]): StepReport {
    this.#gradient.zero();
    const forward = (batch: TensorBatch) => this.policy.call(batch);
    const task = accumulate(batches, forward, this.#gradient, `step ${step + 1}: loss`);
    const { gradNorm, lr } = this.optimization.apply(step, this.#gradient);
    requireFinite(gradNorm, `step ${step + 1}: norm of the gradient`);
    return { loss: task.loss, gradNorm, lr, metrics: task.metrics, task };
  }

  stateFiles(): Map<string, string> {
    return new Map();
  }

  restore(): void {}

  async summary(): Promise<string[]> {
    return [];
  }
}

/** A loss as numbers. */
export interface LossNumbers {
  loss: number;
  metrics: Record<string, number>;
}

/**
 * Adds the mean gradient of micro-batches to `gradient`: with the same samples, the gradient of one large batch, for the memory of a small
 * one. (Exactly so where the loss is a mean over samples; one over valid elements, such as ACT's L1 beside padding, has its gradient
 * averaged per micro-batch, as in LeRobot.)
 *
 * @param forward computes the loss of one micro-batch
 * @param what names the loss in the error
 * @returns the loss and metrics that one batch of all samples would report
 * @throws CraftError LOSS_NOT_FINITE before the backward pass
 */
export function accumulate(
  batches: readonly LazyBatch[],
  forward: (batch: TensorBatch) => PolicyOutput,
  gradient: optim.GradBuffer,
  what: string,
): LossMean {
  const mean = new LossMean();
  for (const batch of batches) {
    scope(() => {
      const output = forward(batch());
      backward(output.loss, gradient, what, 1 / batches.length);
      mean.add(output, 1);
    });
  }
  return mean;
}

/**
 * A forward pass and its backward pass; `scale` times the gradient is added to `gradient`.
 *
 * @param forward computes the loss
 * @param what names the loss in the error
 * @throws CraftError LOSS_NOT_FINITE before the backward pass
 */
export function lossAndGradient(
  forward: () => PolicyOutput,
  gradient: optim.GradBuffer,
  what: string,
  scale = 1,
): LossNumbers {
  const { loss, metrics } = forward();
  const value = backward(loss, gradient, what, scale);
  return { loss: value, metrics: asNumbers(metrics) };
}

function backward(loss: Tensor, gradient: optim.GradBuffer, what: string, scale: number): number {
  const value = requireFinite(loss.item(), what);
  const scaled = scale === 1 ? loss : loss.mul(scale);
  gradient.collect(() => scaled.backward());
  return value;
}

/** Means over micro-batches; a metric that not every one of them reports, over those that do. */
export function meanNumbers(parts: readonly LossNumbers[]): LossNumbers {
  if (parts.length === 1) return parts[0]!;
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const names = new Set(parts.flatMap(({ metrics }) => Object.keys(metrics)));
  const of = (name: string) => parts.flatMap(({ metrics }) => (name in metrics ? [metrics[name]!] : []));
  return {
    loss: mean(parts.map(({ loss }) => loss)),
    metrics: Object.fromEntries([...names].map((name) => [name, mean(of(name))])),
  };
}

/** @throws CraftError LOSS_NOT_FINITE */
export function requireFinite(value: number, what: string): number {
  if (Number.isFinite(value)) return value;
  throw new CraftError(
    'LOSS_NOT_FINITE',
    `${what} is ${value}; the weights were not updated. Check the data (craft names NaN when it loads a dataset), ` +
      'or lower optimizer.lr',
  );
}

function asNumbers(metrics: Record<string, Tensor | number>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(metrics).map(([name, value]) => [name, typeof value === 'number' ? value : value.item()]),
  );
}
