import { CraftError } from '@craft-ft/torch';
import {
  type DecodedArray,
  type FileMetaData,
  parquetMetadata,
  parquetRead,
  parquetReadObjects,
  parquetSchema,
  type SchemaTree,
} from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { firstLine, missingFile, readIfPresent } from './dataset-files.js';

/** Type of a column as stored: how many lists deep, and the element's numpy name (`string`, `bytes`, `struct` otherwise). */
export interface StoredType {
  readonly depth: number;
  readonly leaf: string;
}

/** `list<list<float32>>` and the like, for messages. */
export function describeType({ depth, leaf }: StoredType): string {
  return 'list<'.repeat(depth) + leaf + '>'.repeat(depth);
}

/** Consecutive values of one column, decoded: a typed or plain array for scalars, nested arrays for lists. */
interface ColumnChunk {
  readonly column: string;
  /** Row within the file of `values[0]`. */
  readonly rowStart: number;
  readonly values: DecodedArray;
}

/** A Parquet file held in memory (LeRobot keeps them below about 100 MB), decoded one row group at a time. */
export class ParquetFile {
  readonly path: string;
  readonly rows: number;
  /** `[first row, one past the last row]` of each row group. */
  readonly rowGroups: readonly (readonly [number, number])[];
  readonly #buffer: ArrayBuffer;
  readonly #metadata: FileMetaData;
  readonly #columns: ReadonlyMap<string, StoredType>;

  private constructor(path: string, buffer: ArrayBuffer, metadata: FileMetaData) {
    this.path = path;
    this.#buffer = buffer;
    this.#metadata = metadata;
    this.rows = Number(metadata.num_rows);
    let end = 0;
    this.rowGroups = metadata.row_groups.map(({ num_rows }) => {
      const start = end;
      end += Number(num_rows);
      return [start, end] as const;
    });
    this.#columns = new Map(
      parquetSchema(metadata).children.map((column) => [column.element.name, storedType(column)]),
    );
  }

  /**
   * Reads a file and its footer.
   *
   * @param remedy What to do if the file is absent; appended to the message.
   * @throws CraftError `DATASET_FILE_MISSING`, `DATASET_FILE_INVALID` (truncated or no Parquet file).
   */
  static open(path: string, remedy: string): ParquetFile {
    const bytes = readIfPresent(path);
    if (bytes === undefined) throw missingFile(path, remedy);
    const { buffer, byteOffset, byteLength } = bytes;
    const own =
      byteOffset === 0 && byteLength === buffer.byteLength
        ? buffer
        : buffer.slice(byteOffset, byteOffset + byteLength);
    try {
      return new ParquetFile(path, own, parquetMetadata(own));
    } catch (error) {
      throw invalidFile(path, error);
    }
  }

  /** Names of the top-level columns. */
  get columns(): string[] {
    return [...this.#columns.keys()];
  }

  typeOf(column: string): StoredType | undefined {
    return this.#columns.get(column);
  }

  /** Decodes some columns of one row group. */
  async readRowGroup(group: number, columns: readonly string[]): Promise<ColumnChunk[]> {
    const [rowStart, rowEnd] = this.rowGroups[group]!;
    const chunks: ColumnChunk[] = [];
    await this.#decode(() =>
      parquetRead({
        ...this.#part(columns, rowStart, rowEnd),
        onChunk: ({ columnName, columnData, rowStart: first }) => {
          chunks.push({ column: columnName, rowStart: first, values: columnData });
        },
      }),
    );
    return chunks;
  }

  /** Decodes rows as objects; for small metadata tables. */
  async readRows(
    columns: readonly string[],
    rowStart = 0,
    rowEnd = this.rows,
  ): Promise<Record<string, unknown>[]> {
    return this.#decode(() => parquetReadObjects(this.#part(columns, rowStart, rowEnd)));
  }

  /** hyparquet's options for reading part of the file. */
  #part(columns: readonly string[], rowStart: number, rowEnd: number) {
    const [file, metadata] = [this.#buffer, this.#metadata];
    return { file, metadata, columns: [...columns], rowStart, rowEnd, compressors };
  }

  async #decode<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      throw invalidFile(this.path, error);
    }
  }
}

function invalidFile(path: string, error: unknown): CraftError {
  return new CraftError(
    'DATASET_FILE_INVALID',
    `${path}: truncated or not a Parquet file (${firstLine(error)}); download or record it again`,
    { cause: error },
  );
}

/** Follows the single children of lists down to the element. */
function storedType(column: SchemaTree): StoredType {
  let node = column;
  let depth = 0;
  while (node.children.length > 0) {
    if (node.children.length > 1) return { depth, leaf: 'struct' };
    node = node.children[0]!;
    if (node.element.repetition_type === 'REPEATED') depth++;
  }
  return { depth, leaf: leafName(node) };
}

function leafName({ element }: SchemaTree): string {
  const { type, converted_type: converted, logical_type: logical } = element;
  if (logical?.type === 'INTEGER') return `${logical.isSigned ? 'int' : 'uint'}${logical.bitWidth}`;
  const integer = /^(U?)INT_(\d+)$/.exec(converted ?? '');
  if (integer !== null) return `${integer[1] === 'U' ? 'uint' : 'int'}${integer[2]}`;
  if (converted === 'UTF8' || logical?.type === 'STRING') return 'string';
  if (logical?.type === 'FLOAT16') return 'float16';
  if (logical !== undefined || converted !== undefined) return (logical?.type ?? converted)!.toLowerCase();
  return physicalNames[type ?? ''] ?? 'bytes';
}

const physicalNames: Readonly<Record<string, string>> = {
  BOOLEAN: 'bool',
  INT32: 'int32',
  INT64: 'int64',
  FLOAT: 'float32',
  DOUBLE: 'float64',
};
