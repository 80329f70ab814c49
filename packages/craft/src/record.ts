/**
 * What a run of CRaFT keeps besides its weights: the history of λ, its state in a checkpoint, and the report at the end.
 */
import { CraftError } from '@craft-ft/torch/errors';
import { z } from 'zod';
import { DualState } from './dual-state.js';

/** What happened in one retention step. */
export interface RetentionRecord {
  /** Counted from 0 over the run. */
  step: number;
  /** L_task of the step's batch. */
  task_loss: number;
  /** L_retain of the step's anchors. */
  retention_loss: number;
  /** ε of the step. */
  epsilon: number;
  /** λ that weighed the merge. */
  lambda_used: number;
  /** λ after the step's update. */
  lambda: number;
  /** ⟨g_t, g_r⟩ */
  grad_dot: number;
  grad_cos: number;
  /** 1 where the gradients conflicted, else 0; the share of conflicts where each module or tensor is decided on its own. */
  grad_conflict: number;
}

const COLUMNS: readonly (keyof RetentionRecord)[] = [
  'step',
  'task_loss',
  'retention_loss',
  'epsilon',
  'lambda_used',
  'lambda',
  'grad_dot',
  'grad_cos',
  'grad_conflict',
];

/** The history as CSV; numbers in full, so that reading it back gives the same bits. */
export function formatHistory(records: readonly RetentionRecord[]): string {
  const rows = records.map((record) => COLUMNS.map((column) => record[column]).join(','));
  return `${[COLUMNS.join(','), ...rows].join('\n')}\n`;
}

/** @throws CraftError CRAFT_STATE_INVALID naming the line */
export function parseHistory(text: string, source: string): RetentionRecord[] {
  const [header, ...rows] = text.trimEnd().split('\n');
  if (header !== COLUMNS.join(',')) {
    throw new CraftError(
      'CRAFT_STATE_INVALID',
      `${source}: line 1: expected the columns ${COLUMNS.join(',')}`,
    );
  }
  return rows.map((row, i) => {
    const values = row.split(',').map((cell) => (cell === '' ? Number.NaN : Number(cell)));
    if (values.length !== COLUMNS.length || values.some(Number.isNaN)) {
      throw new CraftError(
        'CRAFT_STATE_INVALID',
        `${source}: line ${i + 2}: expected ${COLUMNS.length} numbers`,
      );
    }
    return Object.fromEntries(COLUMNS.map((column, j) => [column, values[j]])) as unknown as RetentionRecord;
  });
}

/** Steps that the task loss at the start and at the end of a run is averaged over. */
const WINDOW = 16;

const taskLossesSchema = z.strictObject({ first: z.array(z.number()), last: z.array(z.number()) });

/** Mean task loss over the first and the latest steps of a run: shows progress without an evaluation. */
export class TaskLosses {
  #first: number[] = [];
  #last: number[] = [];

  add(loss: number): void {
    if (this.#first.length < WINDOW) this.#first.push(loss);
    this.#last = [...this.#last.slice(1 - WINDOW), loss];
  }

  /** Mean of the first steps; null before the first. */
  get before(): number | null {
    return mean(this.#first);
  }

  /** Mean of the latest steps. */
  get now(): number | null {
    return mean(this.#last);
  }

  toJSON(): z.infer<typeof taskLossesSchema> {
    return { first: this.#first, last: this.#last };
  }

  /** @returns null where `state` is none */
  static fromJSON(state: unknown): TaskLosses | null {
    const parsed = taskLossesSchema.safeParse(state);
    if (!parsed.success) return null;
    const losses = new TaskLosses();
    [losses.#first, losses.#last] = [parsed.data.first, parsed.data.last];
    return losses;
  }
}

function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** File of a checkpoint's `training_state/` that holds everything of CRaFT's but tensors and history. */
export const STATE_FILE = 'craft_state.json';

/** What a run needs to go on exactly where it stopped, besides the history. */
interface CraftState {
  dual: DualState;
  /** Retention loss before the first step; null until measured. */
  startLoss: number | null;
  task: TaskLosses;
  /** What retention terms remember, by mode. */
  terms: Record<string, unknown>;
}

const start = z.number().nullable();

const stateSchema = z.discriminatedUnion('version', [
  // Older checkpoints, from before retention modes had state.
  z.strictObject({ version: z.literal(1), dual: z.unknown(), start_retention_loss: start }),
  z.strictObject({
    version: z.literal(2),
    dual: z.unknown(),
    start_retention_loss: start,
    task_losses: z.unknown(),
    terms: z.record(z.string(), z.unknown()),
  }),
]);

/** Numbers in full: reading them back gives the same bits. */
export function formatCraftState({ dual, startLoss, task, terms }: CraftState): string {
  const state = { version: 2, dual, start_retention_loss: startLoss, task_losses: task, terms };
  return JSON.stringify(state, null, 4);
}

/** @throws CraftError `CRAFT_STATE_MISSING`, `CRAFT_STATE_INVALID` */
export function parseCraftState(text: string | null): CraftState {
  if (text === null) {
    throw new CraftError(
      'CRAFT_STATE_MISSING',
      `${STATE_FILE} is missing from the checkpoint: was it trained with craft.enabled?`,
    );
  }
  const parsed = stateSchema.safeParse(parseJson(text));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw invalid(`: ${issue!.path.join('.')}: ${issue!.message}; the file is damaged`);
  }
  const state = parsed.data;
  const task = state.version === 1 ? new TaskLosses() : TaskLosses.fromJSON(state.task_losses);
  if (task === null) throw invalid(': task_losses: the file is damaged');
  return {
    dual: DualState.fromJSON(state.dual, STATE_FILE),
    startLoss: state.start_retention_loss,
    task,
    terms: state.version === 1 ? {} : state.terms,
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalid(' is not JSON; the file is damaged');
  }
}

function invalid(what: string): CraftError {
  return new CraftError('CRAFT_STATE_INVALID', `${STATE_FILE}${what}`);
}

/** A run of CRaFT in numbers; a value that does not exist yet is null. */
export interface CraftReport {
  /** Task loss: means of the first and of the latest steps. */
  task: { before: number | null; now: number | null };
  /** Retention loss on the same anchors, measured before the first step and now. */
  retention: { before: number | null; now: number | null };
  /** λ after the updates. */
  lambda: { min: number; max: number; now: number };
  epsilon: { min: number; max: number; now: number };
  /** Retention steps so far, and those in which the gradients conflicted. */
  steps: { retention: number; inConflict: number };
  /** Mean cosine of the two gradients. */
  meanCosine: number;
  /** Share of the retention steps that met the constraint. */
  constraintMet: number;
}

/** Summarises a history; null where there has been no retention step. */
export function craftReport(
  history: readonly RetentionRecord[],
  { task, retention }: Pick<CraftReport, 'task' | 'retention'>,
): CraftReport | null {
  const last = history.at(-1);
  if (last === undefined) return null;
  const range = (key: 'lambda' | 'epsilon') => {
    let [min, max] = [last[key], last[key]];
    for (const row of history) [min, max] = [Math.min(min, row[key]), Math.max(max, row[key])];
    return { min, max, now: last[key] };
  };
  const count = (fits: (row: RetentionRecord) => boolean) => history.filter(fits).length;
  return {
    task,
    retention,
    lambda: range('lambda'),
    epsilon: range('epsilon'),
    steps: { retention: history.length, inConflict: count((row) => row.grad_conflict > 0) },
    meanCosine: history.reduce((sum, row) => sum + row.grad_cos, 0) / history.length,
    constraintMet: count((row) => row.retention_loss <= row.epsilon) / history.length,
  };
}

/** The report as text, one line each. */
export function reportLines({ task, retention, lambda, epsilon, steps, meanCosine }: CraftReport): string[] {
  const of = (value: number | null) => (value === null ? '-' : value.toFixed(4));
  return [
    `task loss: ${of(task.before)} in the first steps, ${of(task.now)} in the last`,
    `retention loss on the anchors: ${of(retention.before)} before, ${of(retention.now)} now`,
    `λ ${of(lambda.min)} to ${of(lambda.max)}, now ${of(lambda.now)}; ε ${of(epsilon.min)} to ${of(epsilon.max)}`,
    `${steps.inConflict} of ${steps.retention} retention steps in conflict; mean cosine ${meanCosine.toFixed(3)}`,
  ];
}
