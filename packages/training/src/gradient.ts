import type { PolicyOutput, TensorBatch } from '@craft-ft/policies';
import { LossMean } from '@craft-ft/policies/loss-mean';
import { CraftError, type optim, scope, type Tensor } from '@craft-ft/torch';
import type { TrainingData } from './data-stream.js';

/** A lazy batch: built when called, in the caller's scope. */
export type LazyBatch = () => TensorBatch;

/**
 * Batches in groups of `count`, one group per optimiser step (gradient accumulation): batch i of step s is `data.batch(s·count + i)`,
 * so that a run resumes anywhere. Groups of more than one are held in memory until the next is asked for, because only one batch of a
 * stream can be ready at a time.
 */
export class MicroBatches {
  #held: { step: number; batches: TensorBatch[] } | null = null;

  /** @param count micro-batches per step, at least 1 */
  constructor(
    readonly data: TrainingData,
    readonly count: number,
  ) {}

  /** Waits for the batches of a step. @param last last step that will be asked for, beyond which nothing is prepared */
  async ready(step: number, last = Number.POSITIVE_INFINITY): Promise<void> {
    const { data, count } = this;
    if (count === 1) return data.ready(step, last);
    if (this.#held?.step === step) return;
    this.#release();
    const batches: TensorBatch[] = [];
    for (let index = step * count; index < (step + 1) * count; index++) {
      await data.ready(index, (last + 1) * count - 1);
      batches.push(scope(() => data.batch(index)));
    }
    this.#held = { step, batches };
  }

  /** The batches of a step, which `ready` was called for. */
  batches(step: number): LazyBatch[] {
    if (this.count === 1) return [() => this.data.batch(step)];
    const held = this.#held;
    if (held?.step !== step)
      throw new Error(`internal: the micro-batches of step ${step} were not waited for`);
    return held.batches.map((batch) => () => batch);
  }

  #release(): void {
    for (const batch of this.#held?.batches ?? [])
      for (const tensor of Object.values(batch)) tensor.dispose();
    this.#held = null;
  }
}

/** A loss and its metrics as plain numbers. */
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
