import { mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { type FileHandle, open, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CraftError } from '@craft-ft/torch/errors';
import {
  diskFull,
  explainHubError,
  explainWriteError,
  HubConnectionError,
  networkReason,
  repoName,
} from './errors.js';
import { type DownloadRecord, judgeLocal, remember, workFolder } from './record.js';
import { hasContent, localPath, type RemoteFile } from './remote.js';
import { clientParams, type HubSession, resolveUrl } from './session.js';

/** Progress of a download. `files` and `bytes` count only what has to be downloaded. */
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
  /** Aborted when another process has taken over the folder: nothing more may then be written to it. */
  signal: AbortSignal;
}

const PARALLEL = 4;

/**
 * Downloads the given files to `root`; files that already have the Hub's content are left alone.
 *
 * @returns the number of files downloaded.
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
        // The first failure stops the other files, whose errors only follow from it.
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

interface FetchFileOptions {
  root: string;
  commit: string;
  /** Bytes received; negative when a partial file had to be discarded. */
  onBytes: (bytes: number) => void;
  signal: AbortSignal;
}

/**
 * Downloads one file. What arrives is kept in `.cache/craft/<path>.<hash>.incomplete`, and the next attempt, now or in a later run,
 * requests the rest. The file gets its final name only after its size and hash are verified.
 *
 * @throws CraftError `HUB_CORRUPT` (nothing of the file is kept), `HUB_UNREACHABLE`, `DISK_FULL`, `WRITE_FAILED`, and as
 * {@link explainHubError}.
 */
async function fetchFile(session: HubSession, file: RemoteFile, options: FetchFileOptions): Promise<void> {
  const target = localPath(options.root, file.path);
  const partial = partialPath(options.root, file);
  try {
    mkdirSync(dirname(partial), { recursive: true });
    const resumed = sizeOf(partial) > 0;
    if (resumed) options.onBytes(sizeOf(partial));
    await fillPartial(session, file, partial, options);
    if (!(await isRight(partial, file))) {
      discard(partial, options);
      // A bad partial file may be left over from a crash; if the file was downloaded in one go, the Hub is at fault.
      if (resumed) await fillPartial(session, file, partial, options);
      if (!resumed || !(await isRight(partial, file))) {
        discard(partial, options);
        throw new CraftError(
          'HUB_CORRUPT',
          `${repoName(session)}: ${file.path} arrived with the wrong ${file.algorithm} hash and was thrown away; ` +
            'run again, and tell the repository\u2019s owner if it happens again',
        );
      }
    }
    mkdirSync(dirname(target), { recursive: true });
    renameSync(partial, target);
  } catch (error) {
    throw explainWriteError(explainHubError(error, session), target);
  }
}

/** Bytes of a file left by an earlier attempt. */
function bytesKept(root: string, file: RemoteFile): number {
  return Math.min(sizeOf(partialPath(root, file)), file.size);
}

/** The name includes the hash, so that a partial file is never continued with another version. */
function partialPath(root: string, file: RemoteFile): string {
  return `${localPath(workFolder(root), file.path)}.${file.hash.slice(0, 16)}.incomplete`;
}

/** An attempt that brought this many bytes counts as progress. */
const WORTHWHILE = 64 * 1024;

/** Retries after lost connections; progress resets the count of failures. */
async function fillPartial(
  session: HubSession,
  file: RemoteFile,
  partial: string,
  options: FetchFileOptions,
): Promise<void> {
  const { tries, delayMs } = session.retry;
  for (let failures = 0; ; ) {
    const before = sizeOf(partial);
    try {
      return await append(session, file, partial, options);
    } catch (error) {
      failures = sizeOf(partial) - before >= WORTHWHILE ? 1 : failures + 1;
      if (!(error instanceof HubConnectionError) || failures >= tries) throw error;
      await sleep(delayMs * 2 ** (failures - 1), undefined, { signal: options.signal });
    }
  }
}

class RangeIgnoredError extends Error {}

async function append(
  session: HubSession,
  file: RemoteFile,
  partial: string,
  options: FetchFileOptions,
): Promise<void> {
  const { onBytes, signal } = options;
  if (sizeOf(partial) > file.size) discard(partial, options);
  const handle = await open(partial, 'a');
  try {
    const offset = sizeOf(partial);
    if (offset === file.size) return;
    try {
      for await (const chunk of content(session, file, options.commit, offset, signal)) {
        await handle.appendFile(chunk);
        onBytes(chunk.byteLength);
      }
    } catch (error) {
      if (!(error instanceof RangeIgnoredError)) throw error;
      await restart(session, file, handle, offset, options);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** For a server that ignores range requests and sends the whole file. */
async function restart(
  session: HubSession,
  file: RemoteFile,
  handle: FileHandle,
  had: number,
  { onBytes, signal, commit }: FetchFileOptions,
): Promise<void> {
  await handle.truncate(0);
  onBytes(-had);
  for await (const chunk of content(session, file, commit, 0, signal)) {
    await handle.appendFile(chunk);
    onBytes(chunk.byteLength);
  }
}

/** The file's bytes from `offset` on. Throws HubConnectionError if they end early or stall for too long. */
async function* content(
  session: HubSession,
  file: RemoteFile,
  commit: string,
  offset: number,
  stop: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const { downloadFile } = await import('@huggingface/hub');
  const url = resolveUrl(session, commit, file.path);
  const { timeoutMs } = session.retry;
  const silence = new AbortController();
  const signal = AbortSignal.any([stop, silence.signal]);
  let timer: NodeJS.Timeout | undefined;
  // The client's stream reports only the message of a failed request, so the error itself is kept here.
  let failure: unknown;
  const fetchContent: typeof fetch = async (input, init) => {
    try {
      const response = await session.fetch(input, { ...init, signal });
      if (offset > 0 && response.status !== 206) {
        await response.body?.cancel();
        throw new RangeIgnoredError();
      }
      timer = setTimeout(() => silence.abort(), timeoutMs);
      return response;
    } catch (error) {
      failure = error;
      throw error;
    }
  };
  // Size and URL are already known; Xet's own protocol is not used because only plain HTTP resumes at any byte.
  const downloadInfo = { size: file.size, etag: file.hash, url };
  const params = { ...clientParams(session), fetch: fetchContent, path: file.path, revision: commit };
  const blob = (await downloadFile({ ...params, downloadInfo, xet: false }))!;
  const reader = blob.slice(offset, file.size).stream().getReader();
  let at = offset;
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      timer?.refresh();
      at += read.value.byteLength;
      yield read.value;
    }
  } catch (error) {
    if (failure !== undefined || stop.aborted) throw failure ?? error;
    const reason = silence.signal.aborted
      ? `nothing arrived for ${timeoutMs / 1000} s`
      : networkReason(error);
    throw new HubConnectionError(url, reason, { cause: error });
  } finally {
    clearTimeout(timer);
    reader.cancel().catch(() => {});
  }
  if (at < file.size) throw new HubConnectionError(url, 'the connection was cut');
}

async function isRight(path: string, file: RemoteFile): Promise<boolean> {
  return sizeOf(path) === file.size && (await hasContent(path, file));
}

function discard(path: string, { onBytes }: FetchFileOptions): void {
  onBytes(-sizeOf(path));
  rmSync(path, { force: true });
}

/** Bytes of a file; 0 when it does not exist. */
function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
