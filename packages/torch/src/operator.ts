import { type Handle, native } from './native.js';
import type { Tensor } from './tensor.js';

/** What libtorch calls a Scalar. Whole numbers act as integers, so that integer tensors stay integer; others as doubles. */
export type Scalar = number | boolean | bigint;

const known = new Map<string, boolean>();

/** Whether this libtorch has an operator, by its ATen name (`scaled_dot_product_attention`, `add.Tensor`). Loads libtorch. */
export function hasOperator(name: string): boolean {
  let found = known.get(name);
  if (found === undefined) {
    const [base, overload = ''] = name.split('.');
    found = native.findOp(base.includes('::') ? base : `aten::${base}`, overload) >= 0;
    known.set(name, found);
  }
  return found;
}

export function isScalar(value: unknown): value is Scalar {
  return typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint';
}

export function hasKey(value: unknown, key: string): boolean {
  return typeof value === 'object' && value !== null && key in value;
}

export function handles(tensors: readonly Tensor[]): Handle[] {
  return tensors.map((tensor) => tensor.h);
}

export function optionalHandles(tensors: readonly (Tensor | null)[]): (Handle | null)[] {
  return tensors.map((tensor) => (tensor === null ? null : tensor.h));
}
