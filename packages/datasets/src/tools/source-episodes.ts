import { CraftError } from '@craft-ft/torch';
import { type FileMetaData, parquetMetadata, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { type Column, readColumns, verifyColumns } from '../dataset/columns.js';
import { firstLine, missingFile, type OnWarning, readIfPresent } from '../dataset/dataset-files.js';
import { columnDType } from '../dataset/dtypes.js';
import type { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import type { EpisodeRecord } from '../dataset/metadata-formats.js';

/** One episode of an existing dataset, to become an episode of a new one. */
export interface SourceEpisode {
  readonly metadata: LeRobotDatasetMetadata;
  readonly episode: EpisodeRecord;
}

/** An episode and its values, from row `row` of `columns` on. */
export interface ReadEpisode extends SourceEpisode {
  readonly columns: ReadonlyMap<string, Column>;
  readonly row: number;
  /** Columns that are not numeric: texts and images. */
  readonly others: OtherColumns;
  /** The instruction of each frame. */
  readonly tasks: readonly string[];
}

/** The episodes with all their values except videos; consecutive episodes of one file are read together. */
export async function* readEpisodes(
  episodes: readonly SourceEpisode[],
  warn: OnWarning,
): AsyncGenerator<ReadEpisode> {
  const { features } = episodes[0]!.metadata;
  const numeric = Object.keys(features).filter((key) => columnDType(features[key]!.dtype) !== undefined);
  const other = Object.keys(features).filter((key) => ['string', 'image'].includes(features[key]!.dtype));
  const reader = new OtherReader();
  for (let start = 0; start < episodes.length; ) {
    const { metadata, episode } = episodes[start]!;
    const path = metadata.dataPath(episode);
    let end = start + 1;
    while (
      end < episodes.length &&
      episodes[end]!.metadata === metadata &&
      metadata.dataPath(episodes[end]!.episode) === path
    )
      end++;
    const group = episodes.slice(start, end).map((source) => source.episode);
    const columns = await readColumns(metadata, group, numeric);
    verifyColumns(metadata, group, columns, warn);
    let row = 0;
    for (const one of group) {
      const source = { metadata, episode: one };
      const others = other.length === 0 ? new Map() : await reader.read(source, other);
      const taskIndex = columns.get('task_index')!.data.subarray(row, row + one.length);
      const tasks = Array.from(
        taskIndex as ArrayLike<number | bigint>,
        (index) => metadata.tasks.get(Number(index))!,
      );
      yield { ...source, columns, row, others, tasks };
      row += one.length;
    }
    start = end;
  }
}

/** Texts, or images as the file's bytes, of one episode by feature; one value per frame. */
export type OtherColumns = ReadonlyMap<string, readonly (string | StoredPicture)[]>;

/** An image inside a data file: encoded bytes (PNG, JPEG) and its original file name. */
export interface StoredPicture {
  readonly bytes: Uint8Array;
  readonly path: string | null;
}

/** Reads the non-numeric columns; the last file read stays in memory. */
class OtherReader {
  #path: string | undefined;
  #buffer = new ArrayBuffer(0);
  #footer: FileMetaData | undefined;

  /** @throws CraftError `DATASET_FILE_MISSING`, `DATASET_FILE_INVALID`, `DATASET_NULL`. */
  async read({ metadata, episode }: SourceEpisode, keys: readonly string[]): Promise<OtherColumns> {
    const path = metadata.dataPath(episode);
    const same = ({ dataChunk, dataFile }: typeof episode): boolean =>
      dataChunk === episode.dataChunk && dataFile === episode.dataFile;
    const first = metadata.episodes.find(same)!;
    const rowStart = metadata.version === '3.0' ? episode.fromIndex - first.fromIndex : 0;
    const rows = await this.#rows(path, keys, rowStart, rowStart + episode.length);
    return new Map(
      keys.map((key) => [
        key,
        rows.map((row, frame) => {
          const value = row[key];
          if (typeof value === 'string') return value;
          const { bytes, path: name = null } = (value ?? {}) as Partial<StoredPicture>;
          if (bytes instanceof Uint8Array) return { bytes, path: name };
          const message = `${path}: column "${key}", frame ${frame} of episode ${episode.episodeIndex}: nothing is stored`;
          throw new CraftError('DATASET_NULL', `${message}; record or download the episode again`);
        }),
      ]),
    );
  }

  async #rows(
    path: string,
    columns: readonly string[],
    rowStart: number,
    rowEnd: number,
  ): Promise<Record<string, unknown>[]> {
    try {
      if (this.#path !== path) {
        const bytes = readIfPresent(path);
        if (bytes === undefined) throw missingFile(path, 'download it again');
        this.#buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
        this.#footer = parquetMetadata(this.#buffer);
        this.#path = path;
      }
      // Images are bytes, not text.
      const options = { file: this.#buffer, metadata: this.#footer!, compressors, utf8: false };
      return await parquetReadObjects({ ...options, columns: [...columns], rowStart, rowEnd });
    } catch (error) {
      if (error instanceof CraftError) throw error;
      const message = `${path}: truncated or not a Parquet file (${firstLine(error)}); download it again`;
      throw new CraftError('DATASET_FILE_INVALID', message, { cause: error });
    }
  }
}
