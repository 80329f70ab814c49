import { CraftError, type optim, type Tensor } from '@craft-ft/torch';
import type { Policy, PolicyOutput } from '../policies/policy.js';
import type { TensorBatch } from '../processors/step.js';
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

  update(step: number, batch: TensorBatch): StepReport {
    this.#gradient.zero();
    const { loss, metrics } = lossAndGradient(
      () => this.policy.call(batch),
      this.#gradient,
      `step ${step + 1}: loss`,
    );
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

/**
 * A forward pass and its backward pass; the gradient is added to `gradient`.
 *
 * @param forward computes the loss
 * @param what names the loss in the error
 * @throws CraftError LOSS_NOT_FINITE before the backward pass
 */
export function lossAndGradient(
  forward: () => PolicyOutput,
  gradient: optim.GradBuffer,
  what: string,
): { loss: number; metrics: Record<string, number> } {
  const { loss, metrics } = forward();
  const value = requireFinite(loss.item(), what);
  gradient.collect(() => loss.backward());
  return { loss: value, metrics: asNumbers(metrics) };
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
