import type { TensorBatch } from '../processors/step.js';

/** What one step of training reports. */
export interface StepReport {
  /** Loss on the task batch. */
  loss: number;
  /** Norm of the gradient that was applied, before clipping. */
  gradNorm: number;
  /** Learning rate of the step. */
  lr: number;
  /** Further numbers, averaged over the steps between two log lines (`l1_loss`, `kld_loss`). */
  metrics: Record<string, number>;
  /** Numbers of a moment, shown as they were last (`lambda`, `grad_cos`); absent in steps that have none. */
  latest?: Record<string, number>;
}

/**
 * A training method: turns a task batch into one optimiser step. The loop owns data, logs and checkpoints; a method owns its
 * gradients and whatever state it needs beyond the optimiser's. The baseline is the shortest example.
 */
export interface UpdateStrategy {
  /** Short name, as it appears in logs. */
  readonly name: string;
  /** Steps between two log lines that this method wants of its own, besides `log_freq`. 0: none. */
  readonly logFreq: number;
  /**
   * Called once before step `step`, the first of this process; a good place to measure what later steps compare with.
   *
   * @returns lines for people, warnings included
   */
  begin(step: number): Promise<string[]>;
  /** Waits for what `update(step, …)` needs besides the task batch (batches of its own). */
  ready(step: number): Promise<void>;
  /**
   * One optimiser step.
   *
   * @param step counted from 0 over the whole run
   * @throws CraftError LOSS_NOT_FINITE before anything was updated
   */
  update(step: number, batch: TensorBatch): StepReport;
  /** Files of the method's own for `training_state/`, by name; everything that resuming exactly needs. */
  stateFiles(): Map<string, string>;
  /** Restores what `stateFiles` gave; `read` returns null where a file is absent. @throws CraftError naming a missing one */
  restore(read: (name: string) => string | null): void;
  /** Lines for the end of a run; none by default. */
  summary(): Promise<string[]>;
}
