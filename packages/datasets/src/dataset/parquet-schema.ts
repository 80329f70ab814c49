import type { DecodedArray, SchemaElement } from 'hyparquet';
import { columnDType, elements } from './dtypes.js';

/** A column to write and its schema elements, depth first. */
export interface WriteColumn {
  readonly name: string;
  readonly schema: readonly SchemaElement[];
}

/** `int64`, `float64`, `string`, … nested in `depth` lists, everything nullable, as Arrow writes them. */
export function writeColumn(name: string, dtype: string, depth = 0): WriteColumn {
  const lists: SchemaElement[] = [];
  for (let level = 0; level < depth; level++) {
    lists.push(
      {
        name: level === 0 ? name : 'element',
        repetition_type: 'OPTIONAL',
        num_children: 1,
        converted_type: 'LIST',
        logical_type: { type: 'LIST' },
      },
      { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
    );
  }
  return {
    name,
    schema: [...lists, { name: depth === 0 ? name : 'element', repetition_type: 'OPTIONAL', ...leaf(dtype) }],
  };
}

/** A picture as LeRobot and the `datasets` library store it: the file's bytes, and its name. */
export function imageColumn(name: string): WriteColumn {
  return {
    name,
    schema: [
      { name, repetition_type: 'OPTIONAL', num_children: 2 },
      { name: 'bytes', repetition_type: 'OPTIONAL', type: 'BYTE_ARRAY' },
      { name: 'path', repetition_type: 'OPTIONAL', ...leaf('string') },
    ],
  };
}

/** The schema of a file with these columns. */
export function fileSchema(columns: readonly WriteColumn[]): SchemaElement[] {
  return [
    { name: 'schema', repetition_type: 'REQUIRED', num_children: columns.length },
    ...columns.flatMap((column) => column.schema),
  ];
}

function leaf(dtype: string): Omit<SchemaElement, 'name'> {
  switch (dtype) {
    case 'string':
      return { type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } };
    case 'bool':
      return { type: 'BOOLEAN' };
    case 'float32':
      return { type: 'FLOAT' };
    case 'float64':
      return { type: 'DOUBLE' };
    case 'int64':
      return { type: 'INT64' };
    case 'int32':
      return { type: 'INT32' };
    case 'int8':
    case 'int16':
    case 'uint8': {
      const converted = ({ int8: 'INT_8', int16: 'INT_16', uint8: 'UINT_8' } as const)[dtype];
      const logical = {
        type: 'INTEGER',
        bitWidth: dtype === 'int16' ? 16 : 8,
        isSigned: dtype !== 'uint8',
      } as const;
      return { type: 'INT32', converted_type: converted, logical_type: logical };
    }
    default:
      throw new Error(`internal: no Parquet type for ${dtype}`);
  }
}

/** Number of list levels LeRobot stores a feature in: none for shape [1], else one per dimension. */
export function listDepth(shape: readonly number[]): number {
  return shape.length === 1 && shape[0] === 1 ? 0 : shape.length;
}

/**
 * Values of several frames, row-major, as the writer's rows: scalars stay one array, others become nested lists.
 *
 * @param values `[rows, ...shape]`.
 */
export function toRows(
  dtype: string,
  shape: readonly number[],
  values: ArrayLike<number> | BigInt64Array,
): DecodedArray {
  const plain: (number | bigint | boolean)[] =
    dtype === 'bool'
      ? Array.from(values as ArrayLike<number>, (value) => value !== 0)
      : Array.from(values as ArrayLike<number>);
  if (listDepth(shape) === 0) return plain;
  let nested: unknown[] = plain;
  for (const size of [...shape].reverse()) {
    const inner = nested;
    nested = Array.from({ length: inner.length / size }, (_, i) => inner.slice(i * size, (i + 1) * size));
  }
  return nested;
}

/** The `huggingface` entry of a data file's metadata: the features by the names of the `datasets` library. */
export function huggingfaceMetadata(
  features: Readonly<Record<string, { dtype: string; shape: readonly number[] }>>,
): string {
  const described = Object.entries(features).map(([key, { dtype, shape }]) => {
    if (dtype === 'image') return [key, { _type: 'Image' }];
    const value = { dtype, _type: 'Value' };
    const depth = listDepth(shape);
    if (depth === 0) return [key, value];
    if (depth === 1) return [key, { feature: value, length: elements(shape), _type: 'List' }];
    return [key, { shape, dtype, _type: `Array${depth}D` }];
  });
  return JSON.stringify({ info: { features: Object.fromEntries(described) } });
}

/** Whether a feature is a camera's. */
export function isVisual(dtype: string): boolean {
  return dtype === 'image' || dtype === 'video';
}

/** Whether the writer takes a feature of this dtype. */
export function isWritable(dtype: string): boolean {
  return columnDType(dtype) === dtype || dtype === 'string' || isVisual(dtype);
}
