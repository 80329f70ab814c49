import type { Batch, BatchColumn } from './batch.js';
import { elementBytes, viewAs } from './dtypes.js';

/** Row `row` of batch `part`. */
export interface Pick {
  readonly part: number;
  readonly row: number;
}

/**
 * Puts rows of several batches into one, in the order of `picks`. All have the same columns, equal in dtype and in shape but for
 * the number of rows.
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
