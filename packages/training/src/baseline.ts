import type { Policy, PolicyOutput, TensorBatch } from '@craft-ft/policies';
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
    const { loss, metrics } = accumulate(batches, forward, this.#gradient, `step ${step + 1}: loss`);
    const { gradNorm, lr } = this.optimization.apply(step, this.#gradient);
    requireFinite(gradNorm, `step ${step + 1}: norm of the gradient`);
    return { loss, gradNorm, lr, metrics };
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
 * The mean loss over micro-batches, whose gradient is added to `gradient`: with the same samples, the gradient of one large batch, for
 * the memory of a small one. (Exactly so where the loss is a mean over samples; a mean over the valid ones, such as ACT's L1 beside
 * padding, is averaged per micro-batch, as in LeRobot.)
 *
 * @param forward computes the loss of one micro-batch
 * @param what names the loss in the error
 * @throws CraftError LOSS_NOT_FINITE before the backward pass
 */
export function accumulate(
  batches: readonly LazyBatch[],
  forward: (batch: TensorBatch) => PolicyOutput,
  gradient: optim.GradBuffer,
  what: string,
): LossNumbers {
  const scale = 1 / batches.length;
  return meanNumbers(
    batches.map((batch) => scope(() => lossAndGradient(() => forward(batch()), gradient, what, scale))),
  );
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
  const value = requireFinite(loss.item(), what);
  const scaled = scale === 1 ? loss : loss.mul(scale);
  gradient.collect(() => scaled.backward());
  return { loss: value, metrics: asNumbers(metrics) };
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
