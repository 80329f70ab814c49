import type { Policy, TensorBatch } from '@craft-ft/policies';
import { accumulate, type LazyBatch, requireFinite } from './gradient.js';
import type { StepReport, UpdateStrategy } from './method.js';
import type { Optimization } from './optimization.js';

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
