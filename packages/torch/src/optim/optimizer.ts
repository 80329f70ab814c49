import type { Tensor } from '../tensor.js';
import type { FlatParameters } from './flat-parameters.js';
import type { Run } from './sweep.js';

/** What an optimiser needs to know of a gradient: the flat buffer, and which parameters it reached. */
export interface FlatGradient {
  /** `[size]`, zero where the gradient did not reach. */
  readonly flat: Tensor;
  /** Per entry of the layout; the others are left alone entirely (no update, no weight decay, no step counted). */
  readonly reached: readonly boolean[];
}

/** One number for all parameters, or one per entry of the layout. */
export type Coefficient = number | readonly number[];

/**
 * a·first + b·second, which is computed on the fly and never stored. A parameter that either reached is
 * updated; a gradient that is missing counts as zero.
 */
export interface CombinedGradient {
  readonly first: FlatGradient;
  readonly second: FlatGradient;
  readonly a: Coefficient;
  readonly b: Coefficient;
}

/** A range of parameters updated with the same coefficients. */
export interface UpdateRun extends Run {
  readonly segment: number;
  readonly group: number;
  /** Updates of these parameters so far, this one included. */
  readonly step: number;
  readonly a: number;
  readonly b: number;
}

/** The two sides of a gradient; a plain one is 1·first. */
export function sidesOf(gradient: FlatGradient | CombinedGradient): {
  first: FlatGradient;
  second: FlatGradient | null;
  a: Coefficient;
  b: Coefficient;
} {
  return 'flat' in gradient ? { first: gradient, second: null, a: 1, b: 0 } : gradient;
}

/**
 * Counts an update for every reached parameter and merges neighbours updated with the same coefficients into runs.
 *
 * @throws CraftError PARAMETERS_MOVED
 */
export function nextRuns(
  parameters: FlatParameters,
  gradient: FlatGradient | CombinedGradient,
  steps: number[],
): UpdateRun[] {
  parameters.checkInPlace();
  const { first, second, a, b } = sidesOf(gradient);
  const of = (value: Coefficient, i: number) => (typeof value === 'number' ? value : value[i]);
  const runs: (UpdateRun & { length: number })[] = [];
  for (const i of parameters.order) {
    if (!first.reached[i] && !second?.reached[i]) continue;
    steps[i]++;
    const { offset, end, group, segment } = parameters.entries[i];
    const run = { offset, length: end - offset, segment, group, step: steps[i], a: of(a, i), b: of(b, i) };
    const last = runs.at(-1);
    if (last !== undefined && continues(last, run)) last.length += run.length;
    else runs.push(run);
  }
  return runs;
}

function continues(last: UpdateRun, next: UpdateRun): boolean {
  if (last.offset + last.length !== next.offset) return false;
  return (['segment', 'group', 'step', 'a', 'b'] as const).every((key) => last[key] === next[key]);
}
