import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { safetensors, Tensor } from '@craft-ft/torch';
import { expect } from 'vitest';

/** One case of test/golden/cases.json, its tensors and numbers filled in. */
export interface GoldenCase {
  id: string;
  fn: string;
  dtype: 'float32' | 'float64';
  args: Record<string, unknown>;
  expected: Record<string, unknown>;
}

const path = (name: string) => fileURLToPath(new URL(`golden/${name}`, import.meta.url));

/** Every case, in the order of the file. */
export function loadGoldenCases(): GoldenCase[] {
  const tensors = safetensors.loadFile(path('tensors.safetensors'));
  const { cases } = JSON.parse(readFileSync(path('cases.json'), 'utf8'), (_key, value: unknown) => {
    if (typeof value !== 'object' || value === null) return value;
    if ('tensor' in value) return tensors.get(value.tensor as string);
    if ('number' in value) return Number(value.number);
    return value;
  }) as { cases: GoldenCase[] };
  return cases;
}

/** Tolerance for the dtype of a case, relative to a tensor's largest element. */
export const tolerance = ({ dtype }: GoldenCase): number => (dtype === 'float64' ? 1e-12 : 1e-6);

const numbers = (tensor: Tensor) => Array.from(tensor.toTypedArray(), Number);

/** Largest absolute element; 0 for an empty tensor. */
export const largest = (tensor: Tensor): number => Math.max(0, ...numbers(tensor).map(Math.abs));

/** Compares by the largest difference relative to `scale`, which defaults to the expected tensor's largest element. */
export function expectClose(
  actual: Tensor | null,
  expected: Tensor,
  relative: number,
  scale = largest(expected),
) {
  if (!(actual instanceof Tensor)) throw new Error(`expected a tensor of shape [${expected.shape}]`);
  expect(actual.shape).toEqual(expected.shape);
  const wanted = numbers(expected);
  const difference = Math.max(0, ...numbers(actual).map((value, i) => Math.abs(value - wanted[i])));
  expect(difference).toBeLessThanOrEqual(relative * scale);
}

/** The same for lists with missing entries. */
export function expectAllClose(
  actual: readonly (Tensor | null)[],
  expected: readonly (Tensor | null)[],
  relative: number,
  scale?: number,
) {
  expect(actual.map((tensor) => tensor === null)).toEqual(expected.map((tensor) => tensor === null));
  expected.forEach((tensor, i) => {
    if (tensor !== null) expectClose(actual[i], tensor, relative, scale);
  });
}

/** Compares numbers by their difference relative to `scale`. */
export function expectNumber(actual: number, expected: number, relative: number, scale = Math.abs(expected)) {
  expect(Math.abs(actual - expected)).toBeLessThanOrEqual(relative * scale);
}
