import { CraftError } from '@craft-ft/torch';

declare const absoluteBrand: unique symbol;
declare const subsetBrand: unique symbol;

/**
 * Position of a frame in the whole dataset: the value of its `index` column, the same whichever episodes are loaded.
 *
 * Not assignable to {@link SubsetIndex}: convert with `dataset.toSubset` and `dataset.toAbsolute`.
 */
export type AbsoluteIndex = number & { readonly [absoluteBrand]: true };

/** Row of a frame among the loaded episodes, 0 to `dataset.length - 1`; the index that `batch` and the samplers use. */
export type SubsetIndex = number & { readonly [subsetBrand]: true };

/** Declares that `value` is a dataset-wide index. Throws CraftError `DATASET_INDEX` unless it is a whole number ≥ 0. */
export function absoluteIndex(value: number): AbsoluteIndex {
  return checked(value) as AbsoluteIndex;
}

/** Declares that `value` is a row of the loaded episodes. Throws CraftError `DATASET_INDEX` unless it is a whole number ≥ 0. */
export function subsetIndex(value: number): SubsetIndex {
  return checked(value) as SubsetIndex;
}

function checked(value: number): number {
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new CraftError('DATASET_INDEX', `a frame index must be a whole number from 0 on, not ${value}`);
}

/** One loaded episode: its rows among the loaded ones and its place in the whole dataset. */
export interface EpisodeSpan {
  readonly episodeIndex: number;
  /** First row. */
  readonly start: SubsetIndex;
  /** One past the last row. */
  readonly end: number;
  /** Dataset-wide index of the first frame. */
  readonly absoluteStart: AbsoluteIndex;
}

/** The span that holds a row, by bisection; undefined outside all spans. Spans are sorted by `start` and adjoin. */
export function spanOfRow(spans: readonly EpisodeSpan[], row: SubsetIndex): EpisodeSpan | undefined {
  return bisect(spans, row, (span) => span.start);
}

/** The span that holds a dataset-wide index, by bisection; undefined when its episode is not loaded. */
export function spanOfAbsolute(spans: readonly EpisodeSpan[], index: AbsoluteIndex): EpisodeSpan | undefined {
  return bisect(spans, index, (span) => span.absoluteStart);
}

function bisect(
  spans: readonly EpisodeSpan[],
  value: number,
  startOf: (span: EpisodeSpan) => number,
): EpisodeSpan | undefined {
  let low = 0;
  let high = spans.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (startOf(spans[middle]!) <= value) low = middle + 1;
    else high = middle;
  }
  const span = spans[low - 1];
  return span !== undefined && value - startOf(span) < span.end - span.start ? span : undefined;
}
