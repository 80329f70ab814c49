import { mkdirSync } from 'node:fs';
import { setImmediate as nextTick } from 'node:timers/promises';
import { CraftError, scope } from '@craft-ft/torch';
import { type RunState, saveCheckpoint } from './checkpoint.js';
import type { TrainingData } from './data-stream.js';
import type { MetricsRecord } from './metrics-log.js';

/** What the outside sees of a run while it goes on; all of it optional. */
export interface TrainObserver {
  /** After every step; `loss` is that of its batch. */
  onStep?(step: number, steps: number, loss: number): void;
  /** For every line of the log. */
  onLog?(record: MetricsRecord): void;
  /** What the strategy has to say before the first step. */
  onLine?(line: string): void;
  onCheckpoint?(folder: string, step: number): void;
}

/** A run, ready to go. */
export interface TrainingRun extends RunState {
  data: TrainingData;
  /** Steps completed before this process. */
  startStep: number;
  /** Ends the worker threads of every stream of the run. */
  close(): Promise<void>;
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
 * The one training loop. Each step takes a batch from the data, lets the strategy turn it into an optimiser step, and logs and
 * saves when due; the last step is always logged and saved. An interrupted step is saved, its log window with it: the continued
 * run logs what this one would have.
 *
 * @param signal when aborted, the step under way is finished, saved, and the loop returns
 */
export async function train(
  run: TrainingRun,
  observer: TrainObserver = {},
  signal?: AbortSignal,
): Promise<TrainResult> {
  const { config, strategy, data, metrics } = run;
  makeOutputFolder(config.output_dir);
  metrics.begin(run.startStep);
  let checkpoint: string | null = null;
  let step = run.startStep;
  run.policy.train();
  if (step < config.steps) for (const line of await strategy.begin(step)) observer.onLine?.(line);
  while (step < config.steps && !signal?.aborted) {
    const started = performance.now();
    await Promise.all([data.ready(step, config.steps - 1), strategy.ready(step)]);
    const { report, times } = scope(() => {
      const batch = data.batch(step);
      const loaded = performance.now();
      const done = strategy.update(step, batch);
      return {
        report: done,
        times: { data: (loaded - started) / 1e3, update: (performance.now() - loaded) / 1e3 },
      };
    });
    step++;
    metrics.add(report, times);
    observer.onStep?.(step, config.steps, report.loss);
    // Signals and timers only get their turn between steps.
    await nextTick();
    const last = step === config.steps;
    if (last || isDue(step, config.log_freq) || isDue(step, strategy.logFreq)) {
      const record = metrics.flush(step);
      observer.onLog?.(record);
    }
    if (config.save_checkpoint && (last || signal?.aborted === true || isDue(step, config.save_freq))) {
      checkpoint = saveCheckpoint(run, step);
      observer.onCheckpoint?.(checkpoint, step);
    }
  }
  return { step, interrupted: step < config.steps, checkpoint };
}

function makeOutputFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new CraftError(
      'WRITE_FAILED',
      `${folder}: cannot be created (${code}); choose another --output_dir`,
      {
        cause,
      },
    );
  }
}

function isDue(step: number, frequency: number): boolean {
  return frequency > 0 && step % frequency === 0;
}
