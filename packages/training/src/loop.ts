import { setImmediate as nextTick } from 'node:timers/promises';
import type { Policy, PolicyProcessors } from '@craft-ft/policies';
import { getRngState, makeFolder, scope, setRngState } from '@craft-ft/torch';
import { type RunState, saveCheckpoint } from './checkpoint.js';
import type { TrainingData } from './data-stream.js';
import { MicroBatches } from './gradient.js';
import type { MetricsRecord } from './metrics-log.js';

/** Callbacks during a run, all optional. */
export interface TrainObserver {
  /** After every step; `loss` is that of its batch. */
  onStep?(step: number, steps: number, loss: number): void;
  /** For every line of the log. */
  onLog?(record: MetricsRecord): void;
  /** For every line that the method prints before the first step. */
  onLine?(line: string): void;
  onCheckpoint?(folder: string, step: number): void;
}

/** A run, ready to go. */
export interface TrainingRun extends RunState {
  policy: Policy;
  processors: PolicyProcessors;
  data: TrainingData;
  /** Steps completed before this process. */
  startStep: number;
  /** Ends the worker threads of every stream of the run. */
  close(): Promise<void>;
}

/** An evaluation of the policy during training. */
export interface TrainEvaluation {
  /** Steps between two evaluations; there is one after the last step, too. 0: none at all. */
  freq: number;
  /**
   * Numbers for the line of the log of that step; called with the policy in evaluation mode. null: `signal` was aborted before there
   * were any.
   */
  evaluate(step: number, signal?: AbortSignal): Promise<Record<string, number> | null>;
}

/** How a run ended. */
export interface TrainResult {
  /** Steps completed. */
  step: number;
  /** Stopped by `signal` before the last step. */
  interrupted: boolean;
  /** The last checkpoint written by this process; null where none was. */
  checkpoint: string | null;
}

/**
 * The one training loop. Each step takes its micro-batches from the data, lets the strategy turn them into an optimiser step, and logs and
 * saves when due; the last step is always logged and saved. An interrupted step is saved, its log window with it: the continued
 * run logs what this one would have.
 *
 * @param signal when aborted, the step under way is finished, saved, and the loop returns
 * @param evaluation must not affect training: the weights are the same with and without it
 * @throws what `evaluation` throws, after the step was saved
 */
export async function train(
  run: TrainingRun,
  observer: TrainObserver = {},
  signal?: AbortSignal,
  evaluation: TrainEvaluation | null = null,
): Promise<TrainResult> {
  const { config, strategy, data, metrics } = run;
  makeFolder(config.output_dir);
  metrics.begin(run.startStep);
  let checkpoint: string | null = null;
  let step = run.startStep;
  const micro = new MicroBatches(data, config.gradient_accumulation_steps);
  run.policy.train();
  if (step < config.steps) for (const line of await strategy.begin(step)) observer.onLine?.(line);
  while (step < config.steps && !signal?.aborted) {
    const started = performance.now();
    await Promise.all([micro.ready(step, config.steps - 1), strategy.ready(step)]);
    let loading = performance.now() - started;
    const timed = micro.batches(step).map((batch) => () => {
      const before = performance.now();
      const made = batch();
      loading += performance.now() - before;
      return made;
    });
    const report = scope(() => strategy.update(step, timed));
    const updating = performance.now() - started - loading;
    step++;
    metrics.add(report, { data: loading / 1e3, update: updating / 1e3 });
    observer.onStep?.(step, config.steps, report.loss);
    // Signals and timers are only handled between steps.
    await nextTick();
    const last = step === config.steps;
    const { skill, failure } = await evaluated(run, evaluation, step, signal);
    if (skill !== null || last || isDue(step, config.log_freq) || isDue(step, strategy.logFreq)) {
      const record = metrics.flush(step, skill ?? {});
      observer.onLog?.(record);
    }
    const stopping = last || signal?.aborted === true || failure !== null;
    if (config.save_checkpoint && (stopping || isDue(step, config.save_freq))) {
      checkpoint = saveCheckpoint(run, step);
      observer.onCheckpoint?.(checkpoint, step);
    }
    if (failure !== null) throw failure.error;
  }
  return { step, interrupted: step < config.steps, checkpoint };
}

/** Result of an evaluation, or its error: the step is saved before the error is thrown. */
interface Evaluated {
  skill: Record<string, number> | null;
  failure: { error: unknown } | null;
}

async function evaluated(
  { policy, optimization, config }: TrainingRun,
  evaluation: TrainEvaluation | null,
  step: number,
  signal: AbortSignal | undefined,
): Promise<Evaluated> {
  const due =
    evaluation !== null && evaluation.freq > 0 && (step === config.steps || isDue(step, evaluation.freq));
  if (!due || signal?.aborted === true) return { skill: null, failure: null };
  const devices = [...new Set(['cpu', optimization.parameters.device])];
  const before = devices.map((device) => [device, getRngState(device).keep()] as const);
  policy.eval();
  try {
    return { skill: await evaluation.evaluate(step, signal), failure: null };
  } catch (error) {
    return { skill: null, failure: { error } };
  } finally {
    policy.train();
    for (const [device, state] of before) {
      setRngState(state, device);
      state.dispose();
    }
  }
}

function isDue(step: number, frequency: number): boolean {
  return frequency > 0 && step % frequency === 0;
}
