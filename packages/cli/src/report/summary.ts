import { formatDuration, formatNumber, formatPercent } from './html.js';
import type { Numbers, RunData } from './read-run.js';

/** The key numbers of a run. Null where there is nothing to report. */
export interface RunSummary {
  /** Steps completed. */
  steps: number;
  /** Mean task loss at the start and at the end, each over the steps named. */
  taskLoss: { first: WindowMean; last: WindowMean } | null;
  /** Seconds spent in steps: forward, backward and update, and waiting for data. Saving is not included. */
  seconds: number;
  secondsPerStep: number;
  /** Share of that time spent waiting for data. */
  dataShare: number;
  retention: RetentionSummary | null;
}

/** A mean, and the steps it was taken over. */
interface WindowMean {
  mean: number;
  from: number;
  to: number;
}

/** What the constraint did. */
interface RetentionSummary {
  /** Number of retention steps, or of log lines if there is no history. */
  count: number;
  /** Loss on the anchors before the first step; null if it was not measured. */
  start: number | null;
  /** Mean over the last tenth of the retention steps: of the loss, and of ε. */
  last: number;
  lastEpsilon: number;
  lambda: { min: number; max: number; last: number };
  epsilon: { min: number; max: number };
  /** Share of the retention steps that left λ at `lambda_max`; 0 if that is unknown. */
  atBound: number;
  /** Share of the retention steps in which the gradients conflicted. */
  conflictShare: number;
  meanCosine: number;
}

/** A larger share of steps with λ at its bound is worth mentioning. */
const OFTEN = 0.1;

/** Sums up a run. */
export function summarize({ log, retention, startRetentionLoss, config }: RunData): RunSummary {
  const time = stepTimes(log);
  return {
    steps: log.at(-1)!.step!,
    taskLoss: taskLoss(log, retention),
    seconds: time.update + time.data,
    secondsPerStep: (time.update + time.data) / log.at(-1)!.step!,
    dataShare: time.data / (time.update + time.data || 1),
    retention:
      retention.length === 0
        ? null
        : summarizeRetention(
            retention,
            startRetentionLoss,
            Number(config?.get('craft.lambda_max') ?? Infinity),
          ),
  };
}

// Each line holds means over the steps since the previous line.
function stepTimes(log: readonly Numbers[]): { update: number; data: number } {
  let [update, data, before] = [0, 0, 0];
  for (const { step, update_s: u = 0, dataloading_s: d = 0 } of log) {
    update += u * (step! - before);
    data += d * (step! - before);
    before = step!;
  }
  return { update, data };
}

function taskLoss(log: readonly Numbers[], retention: readonly Numbers[]): RunSummary['taskLoss'] {
  const every = retention.filter(({ task_loss: loss }) => loss !== undefined);
  // The history has the loss of single batches; the first of them were measured before the weights had moved far.
  const [rows, key] = every.length > log.length ? [every, 'task_loss'] : [log, 'loss'];
  const usable = rows.filter((row) => row[key] !== undefined);
  if (usable.length === 0) return null;
  const tenth = Math.max(1, Math.round(usable.length / 10));
  const head = usable.slice(0, tenth);
  const tail = usable.slice(-tenth);
  const before = usable.at(-tenth - 1)?.step ?? 0;
  return {
    first: { mean: mean(head, key), from: 1, to: head.at(-1)!.step! },
    last: { mean: mean(tail, key), from: before + 1, to: tail.at(-1)!.step! },
  };
}

function summarizeRetention(rows: readonly Numbers[], start: number | null, bound: number): RetentionSummary {
  const tail = rows.slice(-Math.max(1, Math.round(rows.length / 10)));
  return {
    count: rows.length,
    start,
    last: mean(tail, 'retention_loss'),
    lastEpsilon: mean(tail, 'epsilon'),
    lambda: { ...range(rows, 'lambda'), last: rows.at(-1)!.lambda ?? Number.NaN },
    epsilon: range(rows, 'epsilon'),
    atBound: rows.filter(({ lambda = 0 }) => lambda >= bound).length / rows.length,
    conflictShare: mean(rows, 'grad_conflict'),
    meanCosine: mean(rows, 'grad_cos'),
  };
}

function values(rows: readonly Numbers[], key: string): number[] {
  return rows.map((row) => row[key]).filter((value) => value !== undefined);
}

function mean(rows: readonly Numbers[], key: string): number {
  const found = values(rows, key);
  return found.reduce((sum, value) => sum + value, 0) / found.length;
}

function range(rows: readonly Numbers[], key: string): { min: number; max: number } {
  const found = values(rows, key);
  return {
    min: found.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY),
    max: found.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY),
  };
}

/** A run in words: its loss, and the rest, which a method's own summary does not include. */
export function summaryLines(summary: RunSummary): { loss: string[]; rest: string[] } {
  const { taskLoss: loss, steps, seconds, secondsPerStep, dataShare, retention } = summary;
  const part = ({ mean: value, from, to }: WindowMean) => `${value.toFixed(4)} (steps ${from} to ${to})`;
  const rest = [
    `${steps} steps in ${formatDuration(seconds)}: ${formatDuration(secondsPerStep)} per step, ` +
      `${formatPercent(dataShare)} of it waiting for data`,
  ];
  if (retention !== null) rest.unshift(...advice(retention));
  return {
    loss: loss === null ? [] : [`task loss: ${part(loss.first)} at the start, ${part(loss.last)} at the end`],
    rest,
  };
}

// What a reader would conclude from the curves, where it is obvious.
function advice(retention: RetentionSummary): string[] {
  const { atBound, lambda } = retention;
  if (atBound > OFTEN) {
    return [
      `λ was at craft.lambda_max in ${formatPercent(atBound)} of the retention steps: ε may be out of reach; ` +
        'raise epsilon_end or take more varied anchors',
    ];
  }
  const { met, text } = constraintState(retention);
  if (met) return [];
  return [
    `the constraint is ${text} at the end, with λ at ${formatNumber(lambda.last, 3)} and still free to rise: ` +
      'raise craft.lambda_lr or craft.initial_lambda, or lower craft.retention_freq',
  ];
}

/** How far the end of the run is from meeting its constraint, in words. */
export function constraintState({ last, lastEpsilon }: RetentionSummary): { met: boolean; text: string } {
  const excess = last / lastEpsilon - 1;
  // At the optimum the constraint is active: batches scatter around ε, and their mean is slightly above or below it.
  if (excess <= 0.05) return { met: true, text: 'met' };
  return {
    met: false,
    text: lastEpsilon > 0 ? `exceeded by ${formatPercent(excess)}` : `exceeded: ${formatNumber(last)}`,
  };
}
