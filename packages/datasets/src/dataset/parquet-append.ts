import { closeSync, openSync, readSync } from 'node:fs';
import { StagedFile, writeFully } from '@craft-ft/torch';
import type { KeyValue, RowGroup, SchemaElement } from 'hyparquet';
import { ByteWriter, type ColumnSource, ParquetWriter } from 'hyparquet-writer';

const COPY = 1 << 22;

/** What a Parquet file holds before its footer. */
export interface ParquetBody {
  readonly rowGroups: readonly RowGroup[];
  /** Bytes up to the end of the last row group. */
  readonly bytes: number;
}

/** A file rewritten with a row group more, not yet under its name, and what it will hold. */
export interface StagedParquet {
  readonly file: StagedFile;
  readonly body: ParquetBody;
}

/** Of a file yet to be written. */
export const emptyBody: ParquetBody = { rowGroups: [], bytes: 4 };

/**
 * Writes a Parquet file anew with one row group more. What was encoded before is copied as bytes, so the cost is one encoded
 * row group and a file copy, and a reader or a crash sees either the old file or the new one, each with its footer.
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
    // Indexes of pages would lie between row groups and footer, where the next row group goes.
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
