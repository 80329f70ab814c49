import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { CraftError } from '@craft-ft/torch/errors';
import { type DownloadProgress, fetchFiles } from './fetch-files.js';
import { removeStale } from './local-files.js';
import { whileLocked } from './lock.js';
import { DownloadRecord } from './record.js';
import { localPath, type RemoteFile, resolveRevision } from './remote.js';
import { type HubOptions, type HubSession, openSession } from './session.js';

export interface DownloadModelOptions extends HubOptions {
  /** Branch, tag or commit. Default: main. */
  revision?: string;
  /** Folder to put it in. Default: a folder of its own in the cache. */
  root?: string;
  onProgress?: (progress: DownloadProgress) => void;
  /** Receives one-line warnings. Default: `console.warn`. */
  onWarning?: (message: string) => void;
}

/** What of a model repository to bring, and where to. */
export interface ModelFiles {
  repoId: string;
  /** Where it lies unless `options.root` says otherwise. */
  cache: string;
  choose(session: HubSession, commit: string): Promise<RemoteFile[]>;
}

/**
 * Brings chosen files of a model repository to this machine, as `downloadDataset` does datasets: only what changed, verified, and
 * usable without the network afterwards.
 *
 * @returns the folder, absolute.
 */
export async function downloadModelFiles(wanted: ModelFiles, options: DownloadModelOptions): Promise<string> {
  const session = openSession(wanted.repoId, 'model', options);
  const root = resolve(options.root ?? wanted.cache);
  if (session.offline) {
    const missing = firstMissing(root);
    if (missing === undefined) return root;
    throw new CraftError(
      'HUB_OFFLINE',
      `${missing}: is not there, and the network is not to be used; unset HF_HUB_OFFLINE to download it`,
    );
  }
  const onWarning = options.onWarning ?? ((message: string) => console.warn(message));
  try {
    await update(session, root, wanted, { ...options, onWarning });
  } catch (error) {
    if (!(error instanceof CraftError) || error.code !== 'HUB_UNREACHABLE') throw error;
    if (firstMissing(root) !== undefined) throw error;
    onWarning(`${error.message}; ${root} has all that is needed and is used as it is`);
  }
  return root;
}

async function update(
  session: HubSession,
  root: string,
  wanted: ModelFiles,
  options: DownloadModelOptions & { onWarning: (message: string) => void },
): Promise<void> {
  const { onWarning, onProgress = () => {} } = options;
  const { revision, commit } = await resolveRevision(session, [options.revision ?? 'main']);
  const files = await wanted.choose(session, commit);
  const onWait = (): void => onWarning(`${root}: waiting for another process that downloads into it`);
  await whileLocked(root, onWait, async (signal) => {
    const record = DownloadRecord.open(root);
    record.begin({ repo: session.repo.name, endpoint: session.hubUrl, revision, commit });
    await fetchFiles(session, files, { root, commit, record, onProgress, onWarning, signal });
    // A leftover index of shards would be read as this revision's.
    removeStale(root, record, files, '');
    record.finish();
  });
}

/** The first file of a completed download that is gone, or the folder itself when none was completed. */
export function firstMissing(root: string): string | undefined {
  const record = DownloadRecord.open(root);
  if (!record.last?.complete) return root;
  return Object.keys(record.files)
    .map((path) => localPath(root, path))
    .find((path) => !existsSync(path));
}
