import { scope } from '../scope.js';
import type { Tensor } from '../tensor.js';
import type { FlatSegment } from './flat-parameters.js';

/** Elements of one step of a sweep: few enough that the step's buffers stay in the processor's cache from operator to operator. */
export const CHUNK = 1 << 18;

// On other devices every operator launches a kernel, so large chunks are faster.
const DEVICE_CHUNK = 1 << 24;

/** A range of a flat buffer. */
export interface Run {
  readonly offset: number;
  readonly length: number;
}

/**
 * Calls `body` with matching pieces of several flat buffers, one cache-sized chunk after another, so that a chain of operators over
 * large buffers costs about one pass over memory. Temporaries are freed chunk by chunk.
 */
export function sweep(buffers: readonly Tensor[], run: Run, body: (...pieces: Tensor[]) => void): void {
  const chunk = buffers[0].device === 'cpu' ? CHUNK : DEVICE_CHUNK;
  for (let start = run.offset; start < run.offset + run.length; start += chunk) {
    const length = Math.min(chunk, run.offset + run.length - start);
    scope(() => body(...buffers.map((buffer) => buffer.narrow(0, start, length))));
  }
}

/**
 * The same over parameters and buffers of the whole layout: `body` gets the parameters' pieces in the buffers' dtype and changes
 * them in place; narrower parameters are rounded once, at the end.
 */
export function sweepParameters(
  segment: FlatSegment,
  buffers: readonly Tensor[],
  run: Run,
  body: (parameters: Tensor, ...pieces: Tensor[]) => void,
): void {
  scope(() => {
    const parts = buffers.map((buffer) => buffer.narrow(0, segment.offset, segment.length));
    const within = { offset: run.offset - segment.offset, length: run.length };
    sweep([segment.data, ...parts], within, (parameters, ...pieces) => {
      const wide = parameters.to(pieces[0].dtype);
      body(wide, ...pieces);
      if (parameters.dtype !== wide.dtype) parameters.copy_(wide);
    });
  });
}

/** Sum over chunks of a number computed from each; the sum is kept in float64. */
export function sumOverChunks(buffers: readonly Tensor[], term: (...pieces: Tensor[]) => number): number {
  let total = 0;
  sweep(buffers, { offset: 0, length: buffers[0].numel }, (...pieces) => {
    total += term(...pieces);
  });
  return total;
}
