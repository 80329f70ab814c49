import { empty, zeros } from '../creation.js';
import { noGrad } from '../grad-mode.js';
import { scope } from '../scope.js';
import type { Tensor } from '../tensor.js';
import { fusedGram, type Gram } from './kernels.js';
import { type Run, sumOverChunks } from './sweep.js';

export type { Gram } from './kernels.js';

/** Two tensors of one shape; null counts as zero. */
export type Pair = readonly [x: Tensor | null, y: Tensor | null];

// At most libtorch's grain size, so that a copy into the buffer stays on one core and in its cache: threads that meet
// once per chunk cost more than they save. An accelerator wants few, large kernels instead.
const CPU_CHUNK = 32_768;
const DEVICE_CHUNK = 1 << 22;

/**
 * ⟨x, y⟩, |x|² and |y|² over stretches of two flat buffers, reading both once: the first pass of a gradient surgery.
 *
 * Products and sums are float64 whatever the buffers' dtype (float32 on mps, which has no float64). On the CPU the result does
 * not depend on the number of threads.
 *
 * @param x `[n]`, any floating dtype
 * @param y the same
 * @param stretches default: all of it; the entries of a `FlatParameters` give one result per parameter
 * @returns one per stretch
 */
export function gram(
  x: Tensor,
  y: Tensor,
  stretches: readonly Run[] = [{ offset: 0, length: x.numel }],
): Gram[] {
  const fused = fusedGram(x, y, stretches);
  if (fused !== null) return fused;
  return scope(() =>
    composedGram(
      stretches.map(
        ({ offset, length }) => [x.narrow(0, offset, length), y.narrow(0, offset, length)] as const,
      ),
    ),
  );
}

/**
 * The same for a list of pairs of tensors of any shape.
 *
 * @returns one per pair
 */
export function gramOfPairs(pairs: readonly Pair[]): Gram[] {
  const fused = scope(() => pairs.map(fusedPair));
  const rest = fused.flatMap((result, i) => (result === null ? [i] : []));
  const composed = scope(() => composedGram(rest.map((i) => pairs[i])));
  rest.forEach((i, k) => {
    fused[i] = composed[k];
  });
  return fused as Gram[];
}

function fusedPair([x, y]: Pair): Gram | null {
  if (x === null || y === null) return null;
  const [flatX, flatY] = [x.reshape([-1]), y.reshape([-1])];
  return fusedGram(flatX, flatY, [{ offset: 0, length: flatX.numel }])?.[0] ?? null;
}

/**
 * With stock operators: chunks of both sides are converted into a two-row buffer, whose product with its transpose holds all three
 * numbers. No copy is as large as a gradient, and the device is synchronised once.
 */
function composedGram(pairs: readonly Pair[]): Gram[] {
  const any = pairs.flat().find((tensor) => tensor !== null);
  if (!any) return pairs.map(() => ({ d: 0, T: 0, R: 0 }));
  return noGrad(() => {
    const device = any.device;
    const dtype = device.startsWith('mps') ? 'float32' : 'float64';
    const largest = Math.max(1, ...pairs.map(([x, y]) => (x ?? y)?.numel ?? 0));
    const chunk = Math.min(device === 'cpu' ? CPU_CHUNK : DEVICE_CHUNK, largest);
    const buffer = empty([2, chunk], { dtype, device });
    const totals = zeros([pairs.length, 2, 2], { dtype, device });
    pairs.forEach((pair, i) => {
      scope(() => addProducts(totals.select(0, i), buffer, pair));
    });
    const sums = totals.flatten().tolist() as number[];
    return pairs.map((_, i) => ({ T: sums[4 * i], d: sums[4 * i + 1], R: sums[4 * i + 3] }));
  });
}

/** Adds to `total` the 2×2 inner products of one pair, one buffer's width at a time. */
function addProducts(total: Tensor, buffer: Tensor, [x, y]: Pair): void {
  const count = (x ?? y)?.numel ?? 0;
  const width = buffer.size(1);
  const rows = [x, y].map((tensor) => tensor?.reshape([-1]) ?? null);
  for (let start = 0; start < count; start += width) {
    const length = Math.min(width, count - start);
    scope(() => {
      const part = length === width ? buffer : buffer.narrow(1, 0, length);
      rows.forEach((row, side) => {
        const target = part.select(0, side);
        if (row === null) target.zero_();
        else target.copy_(row.narrow(0, start, length));
      });
      total.add_(part.matmul(part.t()));
    });
  }
}

/** Euclidean norm of a flat buffer, accumulated in float64. */
export function gradNorm(flat: Tensor): number {
  const fused = fusedGram(flat, null, [{ offset: 0, length: flat.numel }]);
  if (fused !== null) return Math.sqrt(fused[0].T);
  return Math.sqrt(
    noGrad(() => sumOverChunks([flat], (piece) => piece.square().sum({ dtype: 'float64' }).item())),
  );
}

/** The factor that brings a gradient of norm `totalNorm` to at most `maxNorm`: min(1, maxNorm / (totalNorm + 1e-6)), as PyTorch. */
export function clipFactor(totalNorm: number, maxNorm: number): number {
  return Math.min(1, maxNorm / (totalNorm + 1e-6));
}

/**
 * Scales a gradient in place so that its norm is at most `maxNorm`, as `torch.nn.utils.clip_grad_norm_`. An optimiser's `step`
 * takes the factor of `clipFactor` instead, and saves a pass over memory.
 *
 * @param totalNorm the norm, where the caller knows it already
 * @returns the norm before clipping
 */
export function clipGradNorm_(flat: Tensor, maxNorm: number, totalNorm = gradNorm(flat)): number {
  const factor = clipFactor(totalNorm, maxNorm);
  if (factor < 1) noGrad(() => flat.mul_(factor));
  return totalNorm;
}
