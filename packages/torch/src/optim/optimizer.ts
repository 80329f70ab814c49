import type { Tensor } from '../tensor.js';
import type { FlatParameters } from './flat-parameters.js';
import type { Run } from './sweep.js';

/** What an optimiser needs to know of a gradient: the flat buffer, and which parameters it reached. */
export interface FlatGradient {
  readonly flat: Tensor;
  /** Per entry of the layout; the others are left alone entirely (no update, no weight decay, no step counted). */
  readonly reached: readonly boolean[];
}

/** A stretch of parameters that one set of numbers updates. */
export interface UpdateRun extends Run {
  readonly group: number;
  /** Updates of these parameters so far, this one included. */
  readonly step: number;
}

/** Counts an update for every reached parameter and joins neighbours of the same group and count into runs. */
export function nextRuns(
  parameters: FlatParameters,
  reached: readonly boolean[],
  steps: number[],
): UpdateRun[] {
  const runs: { offset: number; length: number; group: number; step: number; end: number }[] = [];
  parameters.entries.forEach((entry, i) => {
    if (!reached[i]) return;
    steps[i]++;
    const last = runs.at(-1);
    const next = parameters.entries[i + 1]?.offset ?? parameters.size;
    if (
      last !== undefined &&
      last.end === entry.offset &&
      last.group === entry.group &&
      last.step === steps[i]
    ) {
      last.length = next - last.offset;
      last.end = next;
    } else {
      runs.push({
        offset: entry.offset,
        length: next - entry.offset,
        group: entry.group,
        step: steps[i],
        end: next,
      });
    }
  });
  return runs;
}
