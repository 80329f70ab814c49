import { CraftError } from './errors.js';

/** Element types, by PyTorch's names. */
export type DType =
  | 'uint8'
  | 'int8'
  | 'int16'
  | 'int32'
  | 'int64'
  | 'float16'
  | 'float32'
  | 'float64'
  | 'bool'
  | 'bfloat16';

/** A typed array whose elements a tensor can hold as they are. */
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Int32Array
  | BigInt64Array;

interface DTypeInfo {
  /** libtorch's `c10::ScalarType`. */
  code: number;
  bytes: number;
  floating: boolean;
  /** The typed array that `toTypedArray` returns; float16 and bfloat16 are widened to float32 first. */
  array: new (
    length: number,
  ) => TypedArray;
}

/** What is known of each element type. */
export const DTYPES: Record<DType, DTypeInfo> = {
  uint8: { code: 0, bytes: 1, floating: false, array: Uint8Array },
  int8: { code: 1, bytes: 1, floating: false, array: Int8Array },
  int16: { code: 2, bytes: 2, floating: false, array: Int16Array },
  int32: { code: 3, bytes: 4, floating: false, array: Int32Array },
  int64: { code: 4, bytes: 8, floating: false, array: BigInt64Array },
  float16: { code: 5, bytes: 2, floating: true, array: Float32Array },
  float32: { code: 6, bytes: 4, floating: true, array: Float32Array },
  float64: { code: 7, bytes: 8, floating: true, array: Float64Array },
  bool: { code: 11, bytes: 1, floating: false, array: Uint8Array },
  bfloat16: { code: 15, bytes: 2, floating: true, array: Float32Array },
};

const byCode = new Map<number, DType>(
  Object.entries(DTYPES).map(([name, info]) => [info.code, name as DType]),
);

/** libtorch's number for a dtype; undefined and null pass through (the operator's own default). */
export function dtypeCode(dtype: DType | null | undefined): number | undefined {
  if (dtype === undefined || dtype === null) return undefined;
  const info = DTYPES[dtype];
  if (info === undefined) {
    throw new CraftError(
      'DTYPE_UNKNOWN',
      `unknown dtype '${dtype}'; known: ${Object.keys(DTYPES).join(', ')}`,
    );
  }
  return info.code;
}

/** The dtype behind libtorch's number. @throws CraftError DTYPE_UNKNOWN for complex and quantised types. */
export function dtypeOfCode(code: number): DType {
  const dtype = byCode.get(code);
  if (dtype === undefined)
    throw new CraftError('DTYPE_UNKNOWN', `libtorch scalar type ${code} has no TypeScript counterpart`);
  return dtype;
}

/** The dtype that holds a typed array's elements unchanged. */
export function dtypeOfArray(array: ArrayBufferView): DType {
  if (array instanceof Float32Array) return 'float32';
  if (array instanceof Float64Array) return 'float64';
  if (array instanceof Int32Array) return 'int32';
  if (array instanceof BigInt64Array) return 'int64';
  if (array instanceof Uint8Array || array instanceof Uint8ClampedArray) return 'uint8';
  if (array instanceof Int8Array) return 'int8';
  if (array instanceof Int16Array) return 'int16';
  throw new CraftError('DTYPE_UNKNOWN', `no dtype holds a ${array.constructor.name}`);
}
