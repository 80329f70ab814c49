import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { explainWriteError, type StagedFile } from '@craft-ft/torch';

/** Part of an episode, written to disk but under no name yet. */
export interface Staged<T> {
  /** In the order in which they are to be committed. */
  readonly files: readonly StagedFile[];
  /** What others need to know of it. */
  readonly value: T;
  /** Called when every file of the episode is committed: the next episode follows this one. */
  accept(): void;
}

/** One of the numbered files: `chunk-{chunk}/file-{file}`. */
export interface FileSlot {
  readonly chunk: number;
  readonly file: number;
}

/** LeRobot's `update_chunk_file_indices`. @param chunksSize Files per chunk. */
export function nextSlot({ chunk, file }: FileSlot, chunksSize: number): FileSlot {
  return file + 1 >= chunksSize ? { chunk: chunk + 1, file: 0 } : { chunk, file: file + 1 };
}

/** The slot after all given ones; the first one for none. */
export function slotAfter(slots: readonly FileSlot[], chunksSize: number): FileSlot {
  const last = slots.reduce<FileSlot | undefined>(
    (a, b) => (a === undefined || b.chunk > a.chunk || (b.chunk === a.chunk && b.file > a.file) ? b : a),
    undefined,
  );
  return last === undefined ? { chunk: 0, file: 0 } : nextSlot(last, chunksSize);
}

/** Creates the folder of `path`. @throws CraftError `DISK_FULL`, `WRITE_FAILED`. */
export function makeFolderOf(path: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true });
  } catch (error) {
    throw explainWriteError(error, path);
  }
}
