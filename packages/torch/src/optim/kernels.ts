import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CraftError } from '../errors.js';
import { addonPath, native, operator } from '../native.js';
import { type Tensor, wrap } from '../tensor.js';
import type { FlatSegment } from './flat-parameters.js';
import type { Run } from './sweep.js';

/** `auto`: the widest instruction set of this processor; `composed`: stock operators; the others by name. */
export type KernelLevel = 'auto' | 'composed' | 'plain' | 'avx2' | 'avx512';

/** How gradients and parameters on the CPU are swept. */
export interface Kernels {
  /** `fused`: craft::gram and craft::sweep, one pass over memory each; `composed`: the same of stock operators. */
  readonly path: 'fused' | 'composed';
  /** Instruction set of the fused path: `plain`, `avx2` or `avx512`. */
  readonly level: string | null;
  /** Path of the library, if it was built. */
  readonly library: string | null;
  /** Why the composed path is used; null when it is not. */
  readonly reason: string | null;
}

/** Coefficients for one range of an update. */
export interface SweepNumbers {
  /** Factors on the two gradients. */
  readonly a: number;
  readonly b: number;
  readonly lr: number;
  readonly weightDecay: number;
  /** Counted from 1. */
  readonly step: number;
}

/** Inner products of two vectors x and y. */
export interface Gram {
  /** ⟨x, y⟩. */
  readonly d: number;
  /** |x|². */
  readonly T: number;
  /** |y|². */
  readonly R: number;
}

const LEVELS: readonly string[] = ['auto', 'composed', 'plain', 'avx2', 'avx512'];
const suffix = process.platform === 'darwin' ? 'dylib' : 'so';

let chosen: Kernels | null = null;
let operators: { gram: number; sweep: number; level: number } | null = null;

/**
 * Which kernels are in use. The library lies beside the addon; where it is absent or does not load, everything works as well,
 * composed of stock operators. `CRAFT_KERNELS` in the environment chooses a level instead of `auto`.
 */
export function kernels(): Kernels {
  chosen ??= choose((process.env.CRAFT_KERNELS || 'auto') as KernelLevel);
  return chosen;
}

/**
 * Chooses the kernels of this process, for comparisons and tests. All levels give the same bits; `composed` differs by rounding.
 *
 * @throws CraftError KERNELS_UNKNOWN for a level that does not exist, KERNELS_MISSING where the library or processor lacks it
 */
export function useKernels(level: KernelLevel): Kernels {
  chosen = choose(level);
  return chosen;
}

function choose(level: KernelLevel): Kernels {
  if (!LEVELS.includes(level)) {
    throw new CraftError(
      'KERNELS_UNKNOWN',
      `CRAFT_KERNELS=${level} is unknown; use one of ${LEVELS.join(', ')}`,
    );
  }
  const path = join(dirname(addonPath), `libcraft_kernels.${suffix}`);
  const library = existsSync(path) ? path : null;
  const composed = (reason: string): Kernels => ({ path: 'composed', level: null, library, reason });
  if (level === 'composed') return composed('CRAFT_KERNELS=composed');
  try {
    if (library === null)
      throw new Error(
        'libcraft_kernels is not built; npm run setup (in a clone) or npx craft-setup builds it',
      );
    operators ??= loadOperators(library);
    return { path: 'fused', level: native.call(operators.level, level) as string, library, reason: null };
  } catch (cause) {
    const reason = (cause as Error).message;
    if (level === 'auto') return composed(reason);
    throw new CraftError('KERNELS_MISSING', `CRAFT_KERNELS=${level}: ${reason}`, { cause });
  }
}

function loadOperators(library: string) {
  native.loadLibrary(library);
  return {
    gram: operator('craft::gram', ''),
    sweep: operator('craft::sweep', ''),
    level: operator('craft::kernel_level', ''),
  };
}

const FUSED_DTYPES: readonly string[] = ['float32', 'bfloat16', 'float64'];

/** Inner products of stretches of two flat tensors in one pass; null where the kernel does not apply. */
export function fusedGram(x: Tensor, y: Tensor | null, stretches: readonly Run[]): Gram[] | null {
  if (kernels().path === 'composed' || operators === null) return null;
  for (const tensor of y === null ? [x] : [x, y]) {
    const { dtype } = tensor;
    if (tensor.device !== 'cpu' || tensor.ndim !== 1 || !native.isContiguous(tensor.h)) return null;
    if (!FUSED_DTYPES.includes(dtype) || dtype !== x.dtype || tensor.numel !== x.numel) return null;
  }
  const offsets = stretches.map(({ offset }) => offset);
  const lengths = stretches.map(({ length }) => length);
  const result = wrap(native.call(operators.gram, x.h, y?.h ?? null, offsets, lengths) as number);
  const sums = result.toTypedArray() as Float64Array;
  result.dispose();
  return stretches.map((_, i) => ({ d: sums[3 * i], T: sums[3 * i + 1], R: sums[3 * i + 2] }));
}

/** Flat buffers of an update besides the parameters, in the layout's order. */
interface SweepState {
  first: Tensor;
  second: Tensor | null;
  m: Tensor;
  v: Tensor;
}

/** AdamW over stretches of one segment in one pass. @returns false, having done nothing, where the kernel does not apply */
export function fusedSweep(
  segment: FlatSegment,
  state: SweepState,
  runs: readonly (Run & SweepNumbers)[],
  { betas, eps }: { betas: readonly [number, number]; eps: number },
): boolean {
  if (kernels().path === 'composed' || operators === null) return false;
  const { data } = segment;
  const { first, second, m, v } = state;
  if (data.device !== 'cpu' || !FUSED_DTYPES.includes(data.dtype)) return false;
  const narrow = first.dtype === 'bfloat16' && m.dtype === 'float32';
  if (!narrow && first.dtype !== m.dtype) return false;
  if (second !== null && second.dtype !== first.dtype) return false;
  const parts = [first, second, m, v].map(
    (buffer) => buffer?.narrow(0, segment.offset, segment.length) ?? null,
  );
  const [x, y, firstMoment, secondMoment] = parts.map((part) => part?.h ?? null);
  const numbers = (key: keyof SweepNumbers) => runs.map((run) => run[key]);
  const offsets = runs.map(({ offset }) => offset - segment.offset);
  const lengths = runs.map(({ length }) => length);
  const factors = [numbers('a'), numbers('b'), 1, numbers('lr'), numbers('weightDecay'), numbers('step')];
  native.call(
    ...[operators.sweep, data.h, x, y, firstMoment, secondMoment],
    ...[offsets, lengths, ...factors, ...betas, eps],
  );
  for (const part of parts) part?.dispose();
  return true;
}
