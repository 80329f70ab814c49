import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LossMean } from '@craft-ft/policies/loss-mean';
import { atomicWriteFile, CraftError } from '@craft-ft/torch';
import { z } from 'zod';
import type { StepReport } from './method.js';

/** Time spent in a step, in seconds. */
interface StepTimes {
  /** Assembling the batch. */
  data: number;
  /** Forward, backward and update. */
  update: number;
}

/** One line of the log and of `metrics.jsonl`. */
export interface MetricsRecord {
  /** Steps completed. */
  step: number;
  samples: number;
  epochs: number;
  loss: number;
  grad_norm: number;
  lr: number;
  update_s: number;
  dataloading_s: number;
  [metric: string]: number;
}

/** Prefix of success rates in per cent; the name of the task follows. */
export const SUCCESS = 'pc_success/';

/** Short names in the printed line, LeRobot's where it has one. */
const SHOWN: readonly [metric: string, label: string, digits: number][] = [
  ['loss', 'loss', 4],
  ['grad_norm', 'grdn', 3],
  ['retention_loss', 'L_ret', 4],
  ['lambda', 'λ', 4],
  ['epsilon', 'ε', 4],
  ['grad_dot', 'dot', 4],
  ['grad_cos', 'cos', 3],
  ['grad_conflict', 'conflict', 0],
];

const numbers = z.record(z.string(), z.number());
const sum = z.strictObject({ total: z.number(), count: z.number() });

const stateSchema = z.strictObject({
  sums: numbers,
  counts: numbers,
  latest: numbers,
  // Absent in older checkpoints.
  task: z
    .strictObject({
      batches: z.number(),
      loss: sum,
      metrics: z.record(z.string(), sum),
      weights: numbers.nullable(),
    })
    .optional(),
});

/**
 * Averages what steps report between two lines and appends the means to `metrics.jsonl`: the task's loss and metrics over the elements of
 * all batches, everything else over the steps.
 */
export class MetricsLog {
  #sums = new Map<string, number>();
  #counts = new Map<string, number>();
  #task = new LossMean();
  #latest: Record<string, number> = {};
  readonly #path: string;

  constructor(
    folder: string,
    private readonly samplesPerStep: number,
    private readonly samplesPerEpoch: number,
  ) {
    this.#path = join(folder, 'metrics.jsonl');
  }

  add(report: StepReport, times: StepTimes): void {
    const { task } = report;
    if (task !== undefined) this.#task.merge(task);
    const counted = task === undefined ? {} : { loss: task.loss, ...task.metrics };
    const averaged = {
      loss: report.loss,
      grad_norm: report.gradNorm,
      lr: report.lr,
      update_s: times.update,
      dataloading_s: times.data,
      ...report.metrics,
    };
    for (const [name, value] of Object.entries(averaged)) {
      if (name in counted) continue;
      this.#sums.set(name, (this.#sums.get(name) ?? 0) + value);
      this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
    }
    Object.assign(this.#latest, report.latest);
  }

  /** Drops the lines of steps after `step`: a run resumed from a checkpoint repeats them. */
  begin(step: number): void {
    if (!existsSync(this.#path)) return;
    const lines = readFileSync(this.#path, 'utf8').split('\n').filter(Boolean);
    const kept = lines.filter((line) => stepOf(line) <= step);
    if (kept.length < lines.length) atomicWriteFile(this.#path, kept.map((line) => `${line}\n`).join(''));
  }

  /** The unfinished window, for a checkpoint: a continued run logs the means that it would have logged without the stop. */
  state(): string {
    const [sums, counts] = [Object.fromEntries(this.#sums), Object.fromEntries(this.#counts)];
    return JSON.stringify({ sums, counts, task: this.#task, latest: this.#latest }, null, 4);
  }

  /** Restores what `state` gave. @throws CraftError CHECKPOINT_INVALID */
  restore(text: string, source: string): void {
    const state = stateSchema.safeParse(parseJson(text));
    if (!state.success) throw new CraftError('CHECKPOINT_INVALID', `${source}: the file is damaged`);
    this.#sums = new Map(Object.entries(state.data.sums));
    this.#counts = new Map(Object.entries(state.data.counts));
    this.#task = state.data.task === undefined ? new LossMean() : LossMean.fromJSON(state.data.task);
    this.#latest = state.data.latest;
  }

  /** Ends a window: its means, together with the numbers of the moment and `more`, are written and returned. */
  flush(step: number, more: Readonly<Record<string, number>> = {}): MetricsRecord {
    const samples = step * this.samplesPerStep;
    const means = Object.fromEntries(
      [...this.#sums].map(([name, sum]) => [name, sum / this.#counts.get(name)!]),
    );
    const record = {
      step,
      samples,
      epochs: samples / this.samplesPerEpoch,
      loss: this.#task.loss,
      ...means,
      ...this.#task.metrics,
      ...this.#latest,
      ...more,
    } as MetricsRecord;
    this.#sums.clear();
    this.#counts.clear();
    this.#task = new LossMean();
    try {
      appendFileSync(this.#path, `${JSON.stringify(record)}\n`);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      throw new CraftError(
        code === 'ENOSPC' ? 'DISK_FULL' : 'WRITE_FAILED',
        `${this.#path}: cannot be written (${code})`,
        { cause },
      );
    }
    return record;
  }
}

// A line cut off by a crash belongs to no step.
function stepOf(line: string): number {
  const { step } = (parseJson(line) ?? {}) as { step?: number };
  return step ?? Number.POSITIVE_INFINITY;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** `step:200 smpl:2K epch:0.53 loss:0.1234 … updt_s:0.012 data_s:0.001`, as LeRobot prints it. */
export function formatRecord(record: MetricsRecord): string {
  const parts = [
    `step:${compact(record.step)}`,
    `smpl:${compact(record.samples)}`,
    `epch:${record.epochs.toFixed(2)}`,
  ];
  for (const [metric, label, digits] of SHOWN) {
    const value = record[metric];
    if (value === undefined) continue;
    parts.push(`${label}:${metric === 'grad_conflict' ? conflict(value) : short(value, digits)}`);
  }
  for (const [metric, percent] of Object.entries(record)) {
    if (metric.startsWith(SUCCESS)) parts.push(`${metric.slice(SUCCESS.length)}:${Math.round(percent)}%`);
  }
  parts.push(
    `lr:${record.lr.toExponential(1)}`,
    `updt_s:${record.update_s.toFixed(3)}`,
    `data_s:${record.dataloading_s.toFixed(3)}`,
  );
  return parts.join(' ');
}

// A share where the surgery is decided for parts of the model.
function conflict(share: number): string {
  if (share === 0 || share === 1) return share === 1 ? 'yes' : 'no';
  return `${Math.round(100 * share)}%`;
}

function compact(value: number): string {
  if (value < 1000) return String(value);
  if (value < 1e6) return `${Number((value / 1e3).toPrecision(3))}K`;
  return `${Number((value / 1e6).toPrecision(3))}M`;
}

// Dot products span many magnitudes: values that would round to zero are written with an exponent.
function short(value: number, digits: number): string {
  const fixed = value.toFixed(digits);
  return value !== 0 && Number(fixed) === 0 ? value.toExponential(1) : fixed;
}
