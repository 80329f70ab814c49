import type { TypedArray } from '@craft-ft/torch';

/** Typed arrays that hold a column or a batch. */
export type ColumnArray = TypedArray;

/** Element types of columns and batches, by torch's names; `bool` is stored as one byte, 0 or 1. */
export type ColumnDType = 'float32' | 'float64' | 'int8' | 'uint8' | 'int16' | 'int32' | 'int64' | 'bool';

/** Bytes of one element. */
export const elementBytes: Readonly<Record<ColumnDType, number>> = {
  float32: 4,
  float64: 8,
  int8: 1,
  uint8: 1,
  int16: 2,
  int32: 4,
  int64: 8,
  bool: 1,
};

/**
 * The dtype in which a feature of some numpy dtype is held. Types torch lacks are widened (`float16` to `float32`, `uint16` to
 * `int32`, `uint32` to `int64`). Anything else (`string`, `image`, `video`, `language`, …) is not numeric: undefined.
 */
export function columnDType(numpyDType: string): ColumnDType | undefined {
  return storage[numpyDType];
}

const storage: Readonly<Record<string, ColumnDType | undefined>> = {
  float16: 'float32',
  float32: 'float32',
  float64: 'float64',
  int8: 'int8',
  uint8: 'uint8',
  int16: 'int16',
  uint16: 'int32',
  int32: 'int32',
  uint32: 'int64',
  int64: 'int64',
  bool: 'bool',
};

/** Views `buffer` as elements of `dtype`. */
export function viewAs(dtype: ColumnDType, buffer: ArrayBufferLike): ColumnArray {
  switch (dtype) {
    case 'float32':
      return new Float32Array(buffer);
    case 'float64':
      return new Float64Array(buffer);
    case 'int8':
      return new Int8Array(buffer);
    case 'uint8':
    case 'bool':
      return new Uint8Array(buffer);
    case 'int16':
      return new Int16Array(buffer);
    case 'int32':
      return new Int32Array(buffer);
    case 'int64':
      return new BigInt64Array(buffer);
  }
}

/** Number of elements of a shape: `[]` has one. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Smallest and largest value of each integer dtype, for range checks when reading or writing. */
export const integerRange: Readonly<Record<string, readonly [bigint, bigint] | undefined>> = {
  int8: [-(2n ** 7n), 2n ** 7n - 1n],
  uint8: [0n, 2n ** 8n - 1n],
  int16: [-(2n ** 15n), 2n ** 15n - 1n],
  uint16: [0n, 2n ** 16n - 1n],
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
};
