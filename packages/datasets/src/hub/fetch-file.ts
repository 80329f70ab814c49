import { mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CraftError } from '@craft-ft/torch/errors';
import { explainHubError, repoName } from './explain.js';
import { hasContent } from './hash.js';
import { HubConnectionError, networkReason } from './http.js';
import { workFolder } from './record.js';
import { localPath, type RemoteFile } from './remote.js';
import { clientParams, type HubSession, resolveUrl } from './session.js';
import { explainWriteError } from './write-error.js';

export interface FetchFileOptions {
  root: string;
  commit: string;
  /** Bytes that arrived; negative when a beginning had to be thrown away. */
  onBytes: (bytes: number) => void;
  signal: AbortSignal;
}

/**
 * Fetches one file. What arrives is kept in `.cache/craft/<path>.<hash>.incomplete`, and the next attempt, now or in a later run,
 * asks for the rest. The file gets its name only after its size and hash are right.
 *
 * @throws CraftError `HUB_CORRUPT` (nothing of the file is kept), `HUB_UNREACHABLE`, `DISK_FULL`, `WRITE_FAILED`, and as
 * {@link explainHubError}.
 */
export async function fetchFile(
  session: HubSession,
  file: RemoteFile,
  options: FetchFileOptions,
): Promise<void> {
  const target = localPath(options.root, file.path);
  const partial = partialPath(options.root, file);
  try {
    makeFolder(partial);
    const resumed = sizeOf(partial) > 0;
    if (resumed) options.onBytes(sizeOf(partial));
    await fillPartial(session, file, partial, options);
    if (!(await isRight(partial, file))) {
      discard(partial, options);
      // A bad beginning may be a leftover of a crash; what was fetched in one go is the Hub's own fault.
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
    makeFolder(target);
    renameSync(partial, target);
  } catch (error) {
    throw explainWriteError(explainHubError(error, session), target);
  }
}

/** Bytes of a file that an earlier attempt has left. */
export function bytesKept(root: string, file: RemoteFile): number {
  return Math.min(sizeOf(partialPath(root, file)), file.size);
}

/** Named by the hash too: what is left of one version of a file is never continued with another. */
function partialPath(root: string, file: RemoteFile): string {
  return `${localPath(workFolder(root), file.path)}.${file.hash.slice(0, 16)}.incomplete`;
}

/** Bytes that make an attempt worth another one. */
const WORTHWHILE = 64 * 1024;

/** Repeats after lost connections, as long as each attempt brings a good part, or the tries last. */
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

/** For a server that sends the whole file whatever part was asked for. */
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

/** The file's bytes from `offset` on. Throws HubConnectionError when they end early or pause for too long. */
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
  // The client's stream reports a failed request by its message alone, so the error itself is kept here.
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
  // Size and address are known already; Xet's own protocol is left aside because only plain HTTP resumes at any byte.
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

function makeFolder(path: string): void {
  mkdirSync(dirname(path), { recursive: true });
}

/** Bytes of a file; 0 when it does not exist. */
function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
