import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { CraftError } from '@craft-ft/torch/errors';
import {
  type FileMetaData,
  type PageHeader,
  parquetMetadata,
  parquetReadObjects,
  parquetSchema,
  type SchemaElement,
} from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';
import { compressors } from 'hyparquet-compressors';
import { LRUCache } from 'lru-cache';
import { firstLine, missingFile } from '../dataset/dataset-files.js';

/** Maximum number of open files. */
const MAX_OPEN = 16;
/** Size limit of the pages kept in memory, bytes; most writers make pages of about 1 MiB. */
const PAGE_CACHE_BYTES = 32 * 2 ** 20;

/** Images by row within a page; null for a row without one. */
type PageImages = readonly (Uint8Array | null | undefined)[];

/** A data page of a column chunk: its header and content. */
interface Page {
  readonly firstRow: number;
  readonly rows: number;
  readonly start: number;
  readonly end: number;
}

/** The pages of the `bytes` of an image column in one row group. */
interface ColumnChunk {
  /** Index among the row group's column chunks. */
  readonly index: number;
  readonly pages: readonly Page[];
  /** Where the dictionary page is, if there is one. */
  readonly dictionary: readonly [start: number, end: number] | undefined;
}

/**
 * Reads images stored as bytes in Parquet files, one row at a time. Only a file's footer, its page headers and the page that holds the row
 * are read, so training in random order never holds whole files. Not shared between threads: each has its own.
 *
 * @example
 * ```ts
 * const images = new ParquetImages();
 * const png = await images.read('data/chunk-000/file-000.parquet', 'observation.images.top', 17);
 * ```
 */
export class ParquetImages {
  readonly #files = new LRUCache<string, ImageFile>({ max: MAX_OPEN, dispose: (file) => file.close() });
  readonly #pages: LRUCache<string, PageImages>;

  /** @param cacheBytes Size limit of the pages kept in memory. Default 32 MiB. */
  constructor(cacheBytes = PAGE_CACHE_BYTES) {
    this.#pages = new LRUCache({ maxSize: cacheBytes, sizeCalculation: sizeOf });
  }

  /**
   * The encoded image (PNG, JPEG, …) of a row; undefined if there is none.
   *
   * @param column Name of an image feature: a struct with a field `bytes`.
   * @throws CraftError `DATASET_FILE_MISSING`, `DATASET_FILE_UNREADABLE`, `DATASET_FILE_INVALID`.
   */
  async read(path: string, column: string, row: number): Promise<Uint8Array | undefined> {
    let file = this.#files.get(path);
    if (file === undefined) {
      file = ImageFile.open(path);
      this.#files.set(path, file);
    }
    try {
      const found = file.find(column, row);
      if (found === undefined) return undefined;
      const key = `${found.page.start} ${column} ${path}`;
      let images = this.#pages.get(key);
      if (images === undefined) {
        images = await file.decode(column, found.chunk, found.page, found.group);
        this.#pages.set(key, images);
      }
      return images[found.row - found.page.firstRow] ?? undefined;
    } catch (error) {
      throw invalidFile(path, error);
    }
  }

  close(): void {
    this.#files.clear();
    this.#pages.clear();
  }
}

function sizeOf(images: PageImages): number {
  return images.reduce((sum, image) => sum + (image?.byteLength ?? 0) + 64, 1);
}

function invalidFile(path: string, error: unknown): CraftError {
  if (error instanceof CraftError) return error;
  const reason = `truncated or not a Parquet file (${firstLine(error)})`;
  return new CraftError('DATASET_FILE_INVALID', `${path}: ${reason}; download or record it again`, {
    cause: error,
  });
}

/** A Parquet file with an image column. */
class ImageFile {
  readonly #file: number;
  readonly #metadata: FileMetaData;
  /** By column and row group. */
  readonly #chunks = new Map<string, ColumnChunk | undefined>();

  private constructor(file: number, metadata: FileMetaData) {
    this.#file = file;
    this.#metadata = metadata;
  }

  static open(path: string): ImageFile {
    let file: number;
    try {
      file = openSync(path, 'r');
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (code === 'ENOENT' || code === 'ENOTDIR')
        throw missingFile(path, 'restore it or choose other episodes');
      throw new CraftError('DATASET_FILE_UNREADABLE', `${path}: cannot be read: ${firstLine(error)}`, {
        cause: error,
      });
    }
    try {
      return new ImageFile(file, parquetMetadata(readFooter(file)));
    } catch (error) {
      closeSync(file);
      throw invalidFile(path, error);
    }
  }

  /** Locates a row of the file within its row group; undefined if the file has no such row or column. */
  find(
    column: string,
    row: number,
  ): { group: number; row: number; chunk: ColumnChunk; page: Page } | undefined {
    let inGroup = row;
    const group = this.#metadata.row_groups.findIndex(({ num_rows }) => {
      if (inGroup < Number(num_rows)) return true;
      inGroup -= Number(num_rows);
      return false;
    });
    if (group === -1) return undefined;
    const chunk = this.#chunk(column, group);
    const page = chunk?.pages.find(({ firstRow, rows }) => inGroup < firstRow + rows);
    return chunk === undefined || page === undefined ? undefined : { group, row: inGroup, chunk, page };
  }

  #chunk(column: string, group: number): ColumnChunk | undefined {
    const key = `${group} ${column}`;
    if (!this.#chunks.has(key)) this.#chunks.set(key, this.#scan(column, group));
    return this.#chunks.get(key);
  }

  /** Finds the pages of a column chunk by their headers. */
  #scan(column: string, group: number): ColumnChunk | undefined {
    const columns = this.#metadata.row_groups[group]!.columns;
    const index = columns.findIndex(({ meta_data }) => {
      const path = meta_data?.path_in_schema;
      return path?.length === 2 && path[0] === column && path[1] === 'bytes';
    });
    const meta = columns[index]?.meta_data;
    if (meta === undefined) return undefined;
    let at = Number(meta.dictionary_page_offset || meta.data_page_offset);
    const end = at + Number(meta.total_compressed_size);
    const pages: Page[] = [];
    let dictionary: ColumnChunk['dictionary'];
    for (let rows = 0; rows < Number(meta.num_values); ) {
      const { header, bytes } = this.#header(at, end);
      const next = at + bytes + header.compressed_page_size;
      if (header.type === 'DICTIONARY_PAGE') {
        dictionary = [at, next];
      } else {
        // Images do not repeat within a row: there are as many values as rows.
        const count = header.data_page_header?.num_values ?? header.data_page_header_v2?.num_rows ?? 0;
        pages.push({ firstRow: rows, rows: count, start: at, end: next });
        rows += count;
      }
      at = next;
    }
    return { index, pages, dictionary };
  }

  #header(at: number, end: number): { header: PageHeader; bytes: number } {
    // Headers take some fifty bytes, or thousands if they hold a page's min/max statistics.
    for (let length = 512; ; length *= 16) {
      const reader = { view: new DataView(readRange(this.#file, at, Math.min(at + length, end))), offset: 0 };
      try {
        const header = parquetHeader(reader);
        return { header, bytes: reader.offset };
      } catch (error) {
        if (at + length >= end) throw error;
      }
    }
  }

  /** Decodes one page, as a file that contains nothing else. */
  async decode(column: string, chunk: ColumnChunk, page: Page, group: number): Promise<PageImages> {
    const [from, to] = chunk.dictionary ?? [0, 0];
    const magic = 4;
    const content = new Uint8Array(magic + (to - from) + (page.end - page.start));
    content.set(new Uint8Array(readRange(this.#file, from, to)), magic);
    content.set(new Uint8Array(readRange(this.#file, page.start, page.end)), magic + (to - from));
    const rows = BigInt(page.rows);
    const { dictionary_page_offset: _, ...meta } =
      this.#metadata.row_groups[group]!.columns[chunk.index]!.meta_data!;
    const size = BigInt(content.length - magic);
    const meta_data = {
      ...meta,
      ...(chunk.dictionary === undefined ? {} : { dictionary_page_offset: BigInt(magic) }),
      data_page_offset: BigInt(magic + (to - from)),
      total_compressed_size: size,
      num_values: rows,
    };
    const metadata: FileMetaData = {
      ...this.#metadata,
      schema: onlyBytes(this.#metadata, column),
      num_rows: rows,
      row_groups: [{ columns: [{ file_offset: 0n, meta_data }], total_byte_size: size, num_rows: rows }],
    };
    const images = await parquetReadObjects({ file: content.buffer, metadata, compressors, utf8: false });
    return images.map((row) => {
      const bytes = (row[column] as { bytes?: unknown } | null | undefined)?.bytes;
      return bytes instanceof Uint8Array ? bytes : null;
    });
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** The schema of a file that has only the field `bytes` of one of its columns. */
function onlyBytes(metadata: FileMetaData, column: string): SchemaElement[] {
  const { element: root, children } = parquetSchema(metadata);
  const struct = children.find(({ element }) => element.name === column)!;
  const bytes = struct.children.find(({ element }) => element.name === 'bytes')!;
  return [{ ...root, num_children: 1 }, { ...struct.element, num_children: 1 }, bytes.element];
}

/** The end of a file, which holds its metadata; the metadata's length is in the last eight bytes, before the magic number. */
function readFooter(file: number): ArrayBuffer {
  const { size } = fstatSync(file);
  const tail = new DataView(readRange(file, Math.max(0, size - 8), size));
  const length = tail.byteLength < 8 ? 0 : tail.getUint32(0, true);
  return readRange(file, Math.max(0, size - length - 8), size);
}

function readRange(file: number, start: number, end: number): ArrayBuffer {
  const bytes = new Uint8Array(end - start);
  for (let done = 0; done < bytes.length; ) {
    const count = readSync(file, bytes, done, bytes.length - done, start + done);
    if (count === 0) throw new Error(`it ends after ${start + done} bytes`);
    done += count;
  }
  return bytes.buffer;
}
