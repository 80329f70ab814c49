import { CraftError } from '@craft-ft/torch';
import type { DecodedArray } from 'hyparquet';
import type { Column } from './columns.js';

/** Where decoded values go, and how to name the place in an error. */
export interface FillTarget {
  readonly column: Column;
  /** First row of the column to fill. */
  readonly row: number;
  /** File, column and episode. */
  readonly where: string;
  /** Frame of the episode that `row` is. */
  readonly firstFrame: number;
}

/**
 * Copies decoded values `[from, to)` into consecutive rows of a column: scalars one by one, nested lists flattened.
 *
 * @throws CraftError `DATASET_NULL`, `DATASET_COLUMN_WIDTH`, naming the frame.
 */
export function fillColumn(target: FillTarget, values: DecodedArray, from: number, to: number): void {
  const { data, width } = target.column;
  let at = target.row * width;
  if (sameKind(data, values)) {
    data.set(values.subarray(from, to) as never, at);
    return;
  }
  const put = data instanceof BigInt64Array ? putBigInt(data) : putNumber(data);
  for (let i = from; i < to; i++) {
    const value: unknown = values[i];
    const count = Array.isArray(value) ? putNested(put, at, value) : put(at, value);
    if (count === width) {
      at += width;
      continue;
    }
    const frame = target.firstFrame + i - from;
    if (Number.isNaN(count)) {
      throw new CraftError('DATASET_NULL', `${target.where}, frame ${frame}: a value is missing (null)`);
    }
    throw new CraftError(
      'DATASET_COLUMN_WIDTH',
      `${target.where}, frame ${frame}: ${count} values, info.json says ${width} (shape [${target.column.shape.join(', ')}])`,
    );
  }
}

/** Writes one value and returns 1, or NaN for null. */
type Put = (at: number, value: unknown) => number;

function putNumber(data: Exclude<Column['data'], BigInt64Array>): Put {
  return (at, value) => {
    if (value === null || value === undefined) return Number.NaN;
    data[at] = Number(value);
    return 1;
  };
}

function putBigInt(data: BigInt64Array): Put {
  return (at, value) => {
    if (value === null || value === undefined) return Number.NaN;
    data[at] = typeof value === 'bigint' ? value : BigInt(value as number);
    return 1;
  };
}

/** Writes a nested list from `at` on and returns the number of values. */
function putNested(put: Put, at: number, list: readonly unknown[]): number {
  let count = 0;
  for (const item of list)
    count += Array.isArray(item) ? putNested(put, at + count, item) : put(at + count, item);
  return count;
}

/** Whether values can be copied as a block: both typed arrays of one class, one value per row. */
function sameKind(data: Column['data'], values: DecodedArray): values is Exclude<DecodedArray, unknown[]> {
  return ArrayBuffer.isView(values) && values.constructor === data.constructor;
}
