/**
 * Size in bytes of one element of each safetensors dtype.
 *
 * The order is the reference implementation's, from least to most aligned: files are written from the end of this list to its
 * beginning, so that every tensor starts at a multiple of its element size.
 */
const sizes = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
} as const;

/** Element types a safetensors file may hold. */
export type SafetensorsDtype = keyof typeof sizes;

/** Every known safetensors dtype, least aligned first. */
export const safetensorsDtypes = Object.keys(sizes) as readonly SafetensorsDtype[];

const ranks = new Map<string, number>(safetensorsDtypes.map((dtype, rank) => [dtype, rank]));

/** Whether `name` is a dtype this library reads and writes. */
export function isSafetensorsDtype(name: string): name is SafetensorsDtype {
  return ranks.has(name);
}

/** Bytes per element. */
export function itemSize(dtype: SafetensorsDtype): number {
  return sizes[dtype];
}

/** Position of a dtype in the reference order; tensors of a higher rank are stored first. */
export function alignmentRank(dtype: SafetensorsDtype): number {
  return ranks.get(dtype) ?? 0;
}

const toTorch = {
  BOOL: 'bool',
  U8: 'uint8',
  I8: 'int8',
  I16: 'int16',
  F16: 'float16',
  BF16: 'bfloat16',
  I32: 'int32',
  F32: 'float32',
  F64: 'float64',
  I64: 'int64',
} as const satisfies Partial<Record<SafetensorsDtype, string>>;

/** Tensor dtypes (PyTorch's names) that a safetensors file can hold. */
export type StorableDtype = (typeof toTorch)[keyof typeof toTorch];

const fromTorch = new Map<string, SafetensorsDtype>(
  Object.entries(toTorch).map(([stored, name]) => [name, stored as keyof typeof toTorch]),
);

/** The tensor dtype of a stored one; undefined for U16, U32, U64 and the 8-bit floats, which have no tensor type here. */
export function torchDtype(dtype: SafetensorsDtype): StorableDtype | undefined {
  return (toTorch as Partial<Record<SafetensorsDtype, StorableDtype>>)[dtype];
}

/** The stored dtype of a tensor dtype (`'float32'` → `'F32'`); undefined when safetensors has none. */
export function safetensorsDtype(name: string): SafetensorsDtype | undefined {
  return fromTorch.get(name);
}

/**
 * Bytes of a tensor: the product of its shape times the element size.
 *
 * @returns undefined when a dimension is not a non-negative integer or the product exceeds 2^53 - 1.
 */
export function byteSize(dtype: SafetensorsDtype, shape: readonly number[]): number | undefined {
  let size = itemSize(dtype);
  for (const dimension of shape) {
    if (!Number.isSafeInteger(dimension) || dimension < 0) return undefined;
    size *= dimension;
    if (!Number.isSafeInteger(size)) return undefined;
  }
  return size;
}
