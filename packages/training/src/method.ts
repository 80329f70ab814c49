import type { Policy, PolicyProcessors } from '@craft-ft/policies';
import type { Problem } from '@craft-ft/policies/config';
import type { LossMean } from '@craft-ft/policies/loss-mean';
import type { Tensor } from '@craft-ft/torch';
import type { z } from 'zod';
import type { NotYet } from './config/not-yet.js';
import type { TrainConfig } from './config/train.js';
import type { TrainingData } from './data-stream.js';
import type { LazyBatch } from './gradient.js';
import type { Optimization } from './optimization.js';
import type { ResumeRules } from './resume.js';

/** What one step of training reports. */
export interface StepReport {
  /** Loss on the task's micro-batches, as for one batch of all their samples. */
  loss: number;
  /** Norm of the gradient that was applied, before clipping. */
  gradNorm: number;
  /** Learning rate of the step. */
  lr: number;
  /** Further numbers, averaged over the steps between two log lines (`l1_loss`, `kld_loss`). */
  metrics: Record<string, number>;
  /**
   * `loss` and the task's metrics with the numbers of elements they are means over (`accumulate` gives it): the log weights steps by
   * these. Default: every step counts alike.
   */
  task?: LossMean;
  /** Momentary values, of which the log shows the latest (`lambda`, `grad_cos`); absent in steps that have none. */
  latest?: Record<string, number>;
}

/**
 * A training method: turns the task's micro-batches into one optimiser step. The loop owns data, logs and checkpoints; a method owns its
 * gradients and whatever state it needs beyond the optimiser's. The baseline is the shortest example.
 */
export interface UpdateStrategy {
  /** Short name, as it appears in logs. */
  readonly name: string;
  /** Interval of additional log lines for this method, in steps, besides `log_freq`. 0: none. */
  readonly logFreq: number;
  /**
   * Called once before step `step`, the first of this process; a good place to measure what later steps compare with.
   *
   * @returns lines to print, warnings included
   */
  begin(step: number): Promise<string[]>;
  /** Waits for what `update(step, …)` needs besides the task batch (batches of its own). */
  ready(step: number): Promise<void>;
  /**
   * One optimiser step.
   *
   * @param step counted from 0 over the whole run
   * @param batches `gradient_accumulation_steps` micro-batches; the loss is the mean over them
   * @throws CraftError LOSS_NOT_FINITE before anything was updated
   */
  update(step: number, batches: readonly LazyBatch[]): StepReport;
  /** Files of the method's own for `training_state/`, by name; everything that resuming exactly needs. */
  stateFiles(): Map<string, string>;
  /** The same for tensors: safetensors files by name, tensors by name. */
  stateTensors?(): Map<string, Map<string, Tensor>>;
  /**
   * Restores what `stateFiles` and `stateTensors` gave; both functions return null where a file is absent.
   *
   * @throws CraftError naming a missing one
   */
  restore(
    read: (name: string) => string | null,
    readTensors: (name: string) => Map<string, Tensor> | null,
  ): void;
  /** Lines to print at the end of a run. */
  summary(): Promise<string[]>;
}

/** What a strategy is built from. */
export interface StrategyContext {
  config: TrainConfig;
  policy: Policy;
  processors: PolicyProcessors;
  optimization: Optimization;
  /** Registers a stream opened by the strategy, to be closed with the run; returns it. */
  keep<D extends TrainingData>(stream: D): D;
}

/**
 * A training method as programs offer it: its flags, their rules, and how its strategy is made. `name` also names the group of its flags
 * (`--craft.lambda_lr`) and the file in a checkpoint that holds them (`craft_config.json`).
 */
export interface TrainingMethod<C = unknown> {
  readonly name: string;
  /** How it is called in messages: `CRaFT`. */
  readonly title: string;
  /** What it does, in half a sentence, for help. */
  readonly about: string;
  /** Its configuration, every field with a description and a default. null if it has none. */
  readonly schema: z.ZodType<C> | null;
  /**
   * Rules between the fields, under their full names (`craft.lambda_max`). Default: none.
   *
   * @param chosen whether the run is to use this method; required fields may be missing otherwise
   */
  validate?(config: C, chosen: boolean): Problem[];
  /** Flags of other programs that have no effect here. */
  readonly notYet?: readonly NotYet[];
  /** A field of the configuration that chooses the method too, for command lines older than `--method`. */
  readonly switchedOnBy?: string;
  /** What may differ between a run and its continuation, by field of the configuration. Default: nothing. */
  readonly resume?: ResumeRules;
  /** Whether what a step does depends on the number of steps, which then should not change on resume. Default: no. */
  followsSteps?(config: C): boolean;
  /** A file that `stateFiles` of the strategy always has: a checkpoint without the configuration is recognised by it. */
  readonly stateFile?: string;
  /** Warnings about a configuration, one line each, before the data are opened. */
  warnings?(config: C, run: TrainConfig): Promise<string[]>;
  /** Makes the strategy, with what it opens handed to `context.keep`. */
  strategy(context: StrategyContext, config: C): Promise<UpdateStrategy>;
}

/** Plain fine-tuning. */
export const baselineMethod: TrainingMethod = {
  name: 'baseline',
  title: 'plain fine-tuning',
  about: 'plain fine-tuning, one gradient step on the task loss',
  schema: null,
  strategy: async ({ policy, optimization }) => {
    const { BaselineStrategy } = await import('./baseline.js');
    return new BaselineStrategy(policy, optimization);
  },
};
