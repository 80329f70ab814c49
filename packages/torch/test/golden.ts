import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type DType, type Tensor, tensor } from '../src/index.js';

/** A tensor as fixtures/make.py writes it. */
export interface Packed {
  dtype: DType;
  shape: number[];
  data: number[];
}

/** Path of a file of recorded numbers, which are small enough to lie in the repository. */
export function goldenPath(...parts: string[]): string {
  return fileURLToPath(new URL(`golden/${parts.join('/')}`, import.meta.url));
}

export function readGolden<T>(...parts: string[]): T {
  return JSON.parse(readFileSync(goldenPath(...parts), 'utf8')) as T;
}

export function unpack({ dtype, shape, data }: Packed): Tensor {
  return tensor(data, { dtype, shape });
}
