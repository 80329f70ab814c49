import type { Column } from './columns.js';
import { type ColumnArray, type ColumnDType, elementBytes, elements, viewAs } from './dtypes.js';
import type { EpisodeSpan, SubsetIndex } from './indices.js';

/** One key of a batch: all its values in one array, row-major in `shape`. */
export interface BatchColumn {
  readonly data: ColumnArray;
  readonly shape: number[];
  readonly dtype: ColumnDType;
}

/**
 * B frames. `columns` by policy key: `[B, ...shape]`, or `[B, T, ...shape]` for a key with T delta timestamps, which also gets
 * `<key>_is_pad` (bool, `[B, T]`). The bookkeeping columns (`timestamp`, `frame_index`, `episode_index`, `index`,
 * `task_index`) are scalars: `[B]`.
 */
export interface Batch {
  readonly columns: Record<string, BatchColumn>;
  /** The instruction of each frame; empty in a dataset without instructions. */
  readonly tasks: string[];
}

/** Copies the frames `indices` of a column. */
export function gather(
  column: Column,
  shape: readonly number[],
  indices: readonly SubsetIndex[],
): BatchColumn {
  const rowBytes = column.width * elementBytes[column.dtype];
  const out = new Uint8Array(indices.length * rowBytes);
  for (let b = 0; b < indices.length; b++) {
    const at = indices[b]! * rowBytes;
    out.set(column.bytes.subarray(at, at + rowBytes), b * rowBytes);
  }
  return { data: viewAs(column.dtype, out.buffer), shape: [indices.length, ...shape], dtype: column.dtype };
}

/**
 * Copies a window of frames around each index: row `b, t` is frame `indices[b] + offsets[t]`, clamped to the ends of the
 * episode of `indices[b]`; `isPad` marks the clamped ones.
 */
export function gatherWindows(
  column: Column,
  shape: readonly number[],
  indices: readonly SubsetIndex[],
  spans: readonly EpisodeSpan[],
  offsets: Int32Array,
): { values: BatchColumn; isPad: BatchColumn } {
  const steps = offsets.length;
  const rowBytes = elements(shape) * elementBytes[column.dtype];
  const out = new Uint8Array(indices.length * steps * rowBytes);
  const pad = new Uint8Array(indices.length * steps);
  let at = 0;
  for (let b = 0; b < indices.length; b++) {
    const { start, end } = spans[b]!;
    // Frames that follow each other are copied together.
    let runStart = -1;
    let runEnd = -1;
    for (let t = 0; t < steps; t++) {
      const wanted = indices[b]! + offsets[t]!;
      const row = wanted < start ? start : wanted >= end ? end - 1 : wanted;
      if (row !== wanted) pad[b * steps + t] = 1;
      if (row !== runEnd) {
        at = flush(out, at, column.bytes, runStart * rowBytes, runEnd * rowBytes);
        runStart = row;
      }
      runEnd = row + 1;
    }
    at = flush(out, at, column.bytes, runStart * rowBytes, runEnd * rowBytes);
  }
  return {
    values: {
      data: viewAs(column.dtype, out.buffer),
      shape: [indices.length, steps, ...shape],
      dtype: column.dtype,
    },
    isPad: { data: pad, shape: [indices.length, steps], dtype: 'bool' },
  };
}

function flush(out: Uint8Array, at: number, bytes: Uint8Array, from: number, to: number): number {
  if (to <= from) return at;
  out.set(bytes.subarray(from, to), at);
  return at + to - from;
}

/** Row `row` of batch `part`. */
export interface Pick {
  readonly part: number;
  readonly row: number;
}

/**
 * Combines rows of several batches into one, in the order of `picks`. All have the same columns, of the same dtype and shape except
 * for the number of rows.
 */
export function collate(parts: readonly Batch[], picks: readonly Pick[]): Batch {
  const columns: Record<string, BatchColumn> = {};
  for (const [key, { dtype, shape }] of Object.entries(parts[0]!.columns)) {
    const rowShape = shape.slice(1);
    const rowBytes = rowShape.reduce((product, size) => product * size, elementBytes[dtype]);
    const out = new Uint8Array(picks.length * rowBytes);
    const sources = parts.map(({ columns: own }) => bytesOf(own[key]!));
    picks.forEach(({ part, row }, i) => {
      out.set(sources[part]!.subarray(row * rowBytes, (row + 1) * rowBytes), i * rowBytes);
    });
    columns[key] = { data: viewAs(dtype, out.buffer), shape: [picks.length, ...rowShape], dtype };
  }
  return { columns, tasks: picks.map(({ part, row }) => parts[part]!.tasks[row]!) };
}

function bytesOf({ data }: BatchColumn): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
