import { closeSync, openSync, readSync } from 'node:fs';
import { StagedFile, writeFully } from '@craft-ft/torch';
import type { DecodedArray, KeyValue, RowGroup, SchemaElement } from 'hyparquet';
import { ByteWriter, type ColumnSource, ParquetWriter } from 'hyparquet-writer';
import { columnDType, elements } from '../dataset/dtypes.js';

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

/** An image as LeRobot and the `datasets` library store it: the file's bytes, and its name. */
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

/** Whether a feature is an image or a video. */
export function isVisual(dtype: string): boolean {
  return dtype === 'image' || dtype === 'video';
}

/** Whether the writer supports features of this dtype. */
export function isWritable(dtype: string): boolean {
  return columnDType(dtype) === dtype || dtype === 'string' || isVisual(dtype);
}

const COPY = 1 << 22;

/** The contents of a Parquet file before its footer. */
export interface ParquetBody {
  readonly rowGroups: readonly RowGroup[];
  /** Bytes up to the end of the last row group. */
  readonly bytes: number;
}

/** A file rewritten with one more row group, not yet renamed, and its new contents. */
interface StagedParquet {
  readonly file: StagedFile;
  readonly body: ParquetBody;
}

/** The body of a file that does not exist yet. */
export const emptyBody: ParquetBody = { rowGroups: [], bytes: 4 };

/**
 * Rewrites a Parquet file with one more row group. What is already encoded is copied as bytes, so the cost is encoding one row
 * group and copying the file. Readers, and any crash, see either the old file or the new one, each with its footer.
 *
 * @param path Its folder exists; the file exists unless `body` is empty.
 * @throws CraftError `DISK_FULL`, `WRITE_FAILED`.
 */
export function stageRowGroup(
  path: string,
  body: ParquetBody,
  schema: readonly SchemaElement[],
  columnData: readonly ColumnSource[],
  kvMetadata: readonly KeyValue[] = [],
): StagedParquet {
  const bytes = new ByteWriter();
  const writer = new ParquetWriter({ writer: bytes, schema: [...schema], kvMetadata: [...kvMetadata] });
  if (body.rowGroups.length > 0) {
    // The file's first bytes, which the constructor wrote, are among those copied.
    bytes.index = 0;
    bytes.offset = body.bytes;
    writer.row_groups = [...body.rowGroups];
    writer.num_rows = body.rowGroups.reduce((sum, group) => sum + group.num_rows, 0n);
  }
  const rows = columnData[0]?.data.length ?? 0;
  if (rows > 0) {
    // Page indexes would lie between the row groups and the footer, where the next row group goes.
    const columns = columnData.map((column) => ({ ...column, offsetIndex: false }));
    writer.write({ columnData: columns, rowGroupSize: rows });
  }
  const staged = { rowGroups: writer.row_groups, bytes: bytes.offset };
  writer.finish();
  const file = new StagedFile(path).write((fd) => {
    if (body.rowGroups.length > 0) copy(path, fd, body.bytes);
    writeFully(fd, bytes.getBytes());
  });
  return { file, body: staged };
}

function copy(path: string, to: number, length: number): void {
  const from = openSync(path, 'r');
  try {
    const buffer = new Uint8Array(Math.min(COPY, length));
    for (let done = 0; done < length; ) {
      const read = readSync(from, buffer, 0, Math.min(buffer.length, length - done), done);
      if (read === 0) throw new Error(`${path}: shorter than when it was written`);
      writeFully(to, buffer.subarray(0, read));
      done += read;
    }
  } finally {
    closeSync(from);
  }
}
