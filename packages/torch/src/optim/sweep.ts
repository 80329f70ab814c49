import { scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

/** Elements of one step of a sweep: few enough that the step's buffers stay in the processor's cache from operator to operator. */
export const CHUNK = 1 << 18;

/** A stretch of a flat buffer. */
export interface Run {
  readonly offset: number;
  readonly length: number;
}

/**
 * Calls `body` with matching pieces of several flat buffers, one cache-sized chunk after another, so that a chain of operators over
 * large buffers costs about one pass over memory. Temporaries are freed chunk by chunk.
 */
export function sweep(buffers: readonly Tensor[], run: Run, body: (...pieces: Tensor[]) => void): void {
  for (let start = run.offset; start < run.offset + run.length; start += CHUNK) {
    const length = Math.min(CHUNK, run.offset + run.length - start);
    scope(() => body(...buffers.map((buffer) => buffer.narrow(0, start, length))));
  }
}

/** Sum over chunks of a number computed from each; the sum is kept in float64. */
export function sumOverChunks(buffers: readonly Tensor[], term: (...pieces: Tensor[]) => number): number {
  let total = 0;
  sweep(buffers, { offset: 0, length: buffers[0].numel }, (...pieces) => {
    total += term(...pieces);
  });
  return total;
}
