import { CraftError } from '@craft-ft/torch';
import { type FileMetaData, parquetMetadata, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { firstLine, missingFile, readIfPresent } from '../dataset/files.js';
import type { SourceEpisode } from './read-episodes.js';

/** Texts, or pictures as the file's bytes, of one episode by feature; one value per frame. */
export type OtherColumns = ReadonlyMap<string, readonly (string | StoredPicture)[]>;

/** A picture inside a data file: encoded bytes (PNG, JPEG) and the name it once had. */
export interface StoredPicture {
  readonly bytes: Uint8Array;
  readonly path: string | null;
}

/** Reads the columns that are not numbers; the file read last stays in memory. */
export class OtherReader {
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
      // Pictures are bytes, not text.
      const options = { file: this.#buffer, metadata: this.#footer!, compressors, utf8: false };
      return await parquetReadObjects({ ...options, columns: [...columns], rowStart, rowEnd });
    } catch (error) {
      if (error instanceof CraftError) throw error;
      const message = `${path}: truncated or not a Parquet file (${firstLine(error)}); download it again`;
      throw new CraftError('DATASET_FILE_INVALID', message, { cause: error });
    }
  }
}
