import type { RetentionRecord } from './lambda-history.js';

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

/** Puts a history together; null where there has been no retention step. */
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

/** The same for people, one line each. */
export function reportLines({ task, retention, lambda, epsilon, steps, meanCosine }: CraftReport): string[] {
  const of = (value: number | null) => (value === null ? '-' : value.toFixed(4));
  return [
    `task loss: ${of(task.before)} in the first steps, ${of(task.now)} in the last`,
    `retention loss on the anchors: ${of(retention.before)} before, ${of(retention.now)} now`,
    `λ ${of(lambda.min)} to ${of(lambda.max)}, now ${of(lambda.now)}; ε ${of(epsilon.min)} to ${of(epsilon.max)}`,
    `${steps.inConflict} of ${steps.retention} retention steps in conflict; mean cosine ${meanCosine.toFixed(3)}`,
  ];
}
