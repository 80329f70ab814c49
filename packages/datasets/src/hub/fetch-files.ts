import { statfs } from 'node:fs/promises';
import { explainHubError } from './explain.js';
import { bytesKept, fetchFile } from './fetch-file.js';
import { judgeLocal, remember } from './local-files.js';
import type { DownloadRecord } from './record.js';
import type { RemoteFile } from './remote.js';
import type { HubSession } from './session.js';
import { diskFull } from './write-error.js';

/** How far a download has come. `files` and `bytes` count only what has to be fetched. */
export interface DownloadProgress {
  /** The file that the last bytes belong to, as a path within the repository. */
  file: string;
  filesDone: number;
  files: number;
  bytesDone: number;
  bytes: number;
}

export interface FetchFilesOptions {
  root: string;
  commit: string;
  record: DownloadRecord;
  onProgress: (progress: DownloadProgress) => void;
  onWarning: (message: string) => void;
  /** Aborted when the folder has been taken over by another process: then nothing more is written into it. */
  signal: AbortSignal;
}

const PARALLEL = 4;

/**
 * Brings the given files to `root`; those that are there with the Hub's content are left alone.
 *
 * @returns the number of files fetched.
 * @throws CraftError `HUB_LOCAL_DIFFERS`, `DISK_FULL` (before anything is fetched, where it can be known), and as fetchFile.
 */
export async function fetchFiles(
  session: HubSession,
  files: readonly RemoteFile[],
  options: FetchFilesOptions,
): Promise<number> {
  const { root, commit, record } = options;
  const wanted: RemoteFile[] = [];
  for (const file of files) {
    if ((await judgeLocal(file, options)) === 'fetch') wanted.push(file);
  }
  const bytes = wanted.reduce((sum, file) => sum + file.size, 0);
  await checkSpace(root, bytes - wanted.reduce((sum, file) => sum + bytesKept(root, file), 0));
  const progress = { filesDone: 0, files: wanted.length, bytesDone: 0, bytes };
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, options.signal]);
  let failure: unknown;
  const queue = wanted.values();
  const worker = async (): Promise<void> => {
    for (const file of queue) {
      if (signal.aborted) return;
      const onBytes = (count: number): void => {
        progress.bytesDone += count;
        options.onProgress({ ...progress, file: file.path });
      };
      try {
        await fetchFile(session, file, { root, commit, onBytes, signal });
      } catch (error) {
        // The other files are stopped by the first failure, and theirs is only that.
        if (!signal.aborted) failure = error;
        stop.abort();
        return;
      }
      remember(file, options);
      progress.filesDone++;
      options.onProgress({ ...progress, file: file.path });
    }
  };
  try {
    await Promise.all(Array.from({ length: PARALLEL }, worker));
  } finally {
    if (!options.signal.aborted) record.save();
  }
  options.signal.throwIfAborted();
  if (stop.signal.aborted) throw explainHubError(failure, session);
  return wanted.length;
}

async function checkSpace(root: string, bytes: number): Promise<void> {
  if (bytes === 0) return;
  const { bavail, bsize } = await statfs(root);
  const free = bavail * bsize;
  if (bytes <= free) return;
  const gigabytes = (count: number): string => `${(count / 1e9).toFixed(1)} GB`;
  throw diskFull(
    `${root}: ${gigabytes(bytes)} are to be fetched and ${gigabytes(free)} are free; free some, or choose another folder`,
  );
}
