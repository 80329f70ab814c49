import { atomicWriteFile } from '@craft-ft/torch';
import type { DecodedArray } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { integerRange } from '../dataset/dtypes.js';
import { ParquetFile } from '../dataset/parquet.js';
import { fileSchema, writeColumn } from '../dataset/parquet-schema.js';

/** A column of a small table: element type, list depth, one value per row. */
export interface TableColumn {
  readonly dtype: string;
  readonly depth: number;
  readonly values: readonly unknown[];
}

/** Reads a whole table of metadata. @throws CraftError as {@link ParquetFile}. */
export async function readTable(path: string): Promise<Map<string, TableColumn>> {
  const file = ParquetFile.open(path, 'download the dataset again');
  const rows = await file.readRows(file.columns);
  return new Map(
    file.columns.map((name) => {
      const { leaf, depth } = file.typeOf(name)!;
      return [name, { dtype: leaf, depth, values: rows.map((row) => row[name]) }];
    }),
  );
}

/** Writes a table, all or nothing. */
export function writeTable(path: string, table: ReadonlyMap<string, TableColumn>): void {
  const columns = [...table].map(([name, { dtype, depth }]) => writeColumn(name, dtype, depth));
  const columnData = [...table].map(([name, { dtype, values }]) => ({
    name,
    data: values.map((value) => convert(value, dtype)) as DecodedArray,
  }));
  atomicWriteFile(path, new Uint8Array(parquetWriteBuffer({ columnData, schema: fileSchema(columns) })));
}

/** Numbers of nested lists as the writer wants them: bigint for int64, number for the rest. */
function convert(value: unknown, dtype: string): unknown {
  if (value === null || value === undefined) return null;
  if (Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))) {
    return Array.from(value as ArrayLike<unknown>, (item) => convert(item, dtype));
  }
  if (dtype === 'int64') {
    const [low, high] = integerRange.int64!;
    // Statistics are float64: the extremes of int64 round to just outside its range.
    const whole = BigInt(value as number | bigint);
    return whole < low ? low : whole > high ? high : whole;
  }
  return typeof value === 'bigint' ? Number(value) : value;
}
