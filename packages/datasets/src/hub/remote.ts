import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { isAbsolute, join, win32 } from 'node:path';
import { CraftError } from '@craft-ft/torch/errors';
import { explainHubError, isEntryMissing, isRevisionMissing, repoName } from './errors.js';
import { asking, clientParams, type HubSession } from './session.js';

/** A file as the Hub describes it. */
export interface RemoteFile {
  /** Path within the repository, with `/`. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** The hash to verify the content with: SHA-256 of a large file, git's blob SHA-1 of any other. */
  readonly algorithm: 'sha256' | 'git-sha1';
  /** Hexadecimal. */
  readonly hash: string;
}

/** A requested revision, and the commit that it now points to. */
interface ResolvedRevision {
  readonly revision: string;
  readonly commit: string;
}

/**
 * The first of the given revisions that exists. Files are downloaded by its commit, so that all belong to one state of the repository even
 * if a branch moves meanwhile.
 *
 * @throws CraftError `HUB_REVISION` if none exists, and as {@link explainHubError}.
 */
export async function resolveRevision(
  session: HubSession,
  candidates: readonly string[],
): Promise<ResolvedRevision> {
  const { datasetInfo, modelInfo } = await import('@huggingface/hub');
  const { repo, ...params } = clientParams(session);
  for (const revision of candidates) {
    const asked = { ...params, name: repo.name, revision, additionalFields: ['sha'] as const };
    try {
      const { sha } =
        repo.type === 'dataset'
          ? await datasetInfo({ ...asked, additionalFields: ['sha'] })
          : await modelInfo({ ...asked, additionalFields: ['sha'] });
      return { revision, commit: sha };
    } catch (error) {
      if (!isRevisionMissing(error)) throw explainHubError(error, session);
    }
  }
  throw new CraftError(
    'HUB_REVISION',
    `${repoName(session)}: it has no branch, tag or commit ${candidates.join(', ')}; see "Files" on its page for those it has`,
  );
}

/** All files below a folder of the repository (`''`: top level only) at one commit; none if there is no such folder. */
export async function listFolder(session: HubSession, commit: string, folder: string): Promise<RemoteFile[]> {
  const { listFiles } = await import('@huggingface/hub');
  const files: RemoteFile[] = [];
  const params = { ...clientParams(session), revision: commit, recursive: folder !== '', path: folder };
  try {
    for await (const entry of listFiles(params)) {
      if (entry.type === 'file') files.push(remoteFile(session, entry));
    }
  } catch (error) {
    if (!isEntryMissing(error)) throw explainHubError(error, session);
  }
  return files;
}

const PATHS_PER_REQUEST = 500;

/** The Hub's information on the given paths, by path; unknown paths are left out. */
export async function lookUp(
  session: HubSession,
  commit: string,
  paths: readonly string[],
): Promise<Map<string, RemoteFile>> {
  const { pathsInfo } = await import('@huggingface/hub');
  return asking(session, async () => {
    const found = new Map<string, RemoteFile>();
    for (let at = 0; at < paths.length; at += PATHS_PER_REQUEST) {
      const some = paths.slice(at, at + PATHS_PER_REQUEST);
      for (const entry of await pathsInfo({ ...clientParams(session), revision: commit, paths: some })) {
        if (entry.type === 'file') found.set(entry.path, remoteFile(session, entry));
      }
    }
    return found;
  });
}

interface Entry {
  path: string;
  size: number;
  oid?: string;
  lfs?: { oid: string; size: number };
}

function remoteFile(session: HubSession, { path, size, oid, lfs }: Entry): RemoteFile {
  const file: RemoteFile =
    lfs === undefined
      ? { path, size, algorithm: 'git-sha1', hash: oid ?? '' }
      : { path, size: lfs.size, algorithm: 'sha256', hash: lfs.oid };
  const hashLength = file.algorithm === 'sha256' ? 64 : 40;
  if (!/^[0-9a-f]+$/.test(file.hash) || file.hash.length !== hashLength) {
    throw new CraftError('HUB_REFUSED', `${repoName(session)}: gives no hash for ${path}; is it a Hub?`);
  }
  return file;
}

/**
 * The local path, below `root`, of a file of the repository.
 *
 * @throws CraftError `HUB_PATH` for a path that would leave `root`, here or on Windows.
 */
export function localPath(root: string, path: string): string {
  const parts = path.split('/');
  const odd = parts.some((part) => part === '' || part === '.' || part === '..' || /[\\:\0]/.test(part));
  if (odd || isAbsolute(path) || win32.isAbsolute(path) || parts[0] === '.cache') {
    throw new CraftError('HUB_PATH', `the repository has a file named "${path}", which is not safe to write`);
  }
  return join(root, ...parts);
}

/**
 * Whether a local file, already of the right size, has the Hub's content. For small files, git hashes a header with the size before the
 * bytes.
 */
export async function hasContent(path: string, { algorithm, size, hash }: RemoteFile): Promise<boolean> {
  const hasher = algorithm === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }))
    hasher.update(chunk as Buffer);
  return hasher.digest('hex') === hash;
}
