import { expect } from 'vitest';
import { grad, noGrad, scope, type Tensor, tensor } from '../src/index.js';

/** Numbers of [low, high) that are the same in every run. */
export function numbers(count: number, low = -1, high = 1, seed = 1): Float64Array {
  let state = (seed * 2654435761) >>> 0;
  return Float64Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return low + ((state >>> 4) / 2 ** 28) * (high - low);
  });
}

function values(x: Tensor): number[] {
  return Array.from(x.to('float64').toTypedArray() as Float64Array);
}

/** Fails unless the largest difference is at most `tolerance` times the largest expected value, or times `least` if that is larger. */
export function expectClose(actual: Tensor, expected: Tensor, tolerance = 1e-5, least = 1): void {
  expect(actual.shape).toEqual(expected.shape);
  const wanted = values(expected);
  const limit = tolerance * wanted.reduce((most, value) => Math.max(most, Math.abs(value)), least);
  values(actual).forEach((value, i) => {
    const difference = Math.abs(value - wanted[i]);
    if (difference > limit || Number.isNaN(difference)) {
      throw new Error(
        `element ${i}: ${value}, expected ${wanted[i]} (difference ${difference}, limit ${limit})`,
      );
    }
  });
}

/** One weighted number from whatever a function returns, so that every output element counts differently. */
function weigh(outputs: Tensor | Tensor[]): Tensor {
  const list = Array.isArray(outputs) ? outputs : [outputs];
  return list
    .map((output, k) => {
      const weights = tensor(numbers(output.numel, 0.5, 1.5, k + 7), { shape: output.shape });
      return output.mul(weights).sum();
    })
    .reduce((sum, term) => sum.add(term));
}

/** Compares the gradients of `f` with central finite differences in float64. */
export function gradcheck(
  f: (...inputs: Tensor[]) => Tensor | Tensor[],
  inputs: readonly { shape: number[]; data: Float64Array }[],
  tolerance = 1e-6,
): void {
  scope(() => {
    const leaves = inputs.map(({ shape, data }) => tensor(data, { shape, requiresGrad: true }));
    const analytic = grad([weigh(f(...leaves))], leaves);
    const value = () =>
      noGrad(() => scope(() => weigh(f(...inputs.map((i) => tensor(i.data, { shape: i.shape })))).item()));
    inputs.forEach(({ shape, data }, k) => {
      const numeric = new Float64Array(data.length);
      for (let i = 0; i < data.length; i++) {
        const original = data[i];
        const step = 1e-5 * Math.max(1, Math.abs(original));
        data[i] = original + step;
        const above = value();
        data[i] = original - step;
        const below = value();
        data[i] = original;
        numeric[i] = (above - below) / (2 * step);
      }
      expectClose(analytic[k]!, tensor(numeric, { shape }), tolerance);
    });
  });
}
