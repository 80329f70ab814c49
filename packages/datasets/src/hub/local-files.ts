import { rmSync, statSync } from 'node:fs';
import { CraftError } from '@craft-ft/torch/errors';
import { hasContent } from './hash.js';
import type { DownloadRecord } from './record.js';
import { localPath, type RemoteFile } from './remote.js';

interface LocalContext {
  root: string;
  commit: string;
  record: DownloadRecord;
  onWarning: (message: string) => void;
}

/**
 * What to do about a file of the repository, given what lies in the folder:
 * - nothing there, or an older state of the file that came from the Hub: fetch it;
 * - the Hub's content: nothing, and remember it;
 * - something that never came from the Hub, such as a recording of the user's own: refuse, nothing of theirs is overwritten;
 * - a downloaded file that was changed here since: metadata is kept as it is with a warning, since it may have been repaired
 *   or edited; anything else is fetched again with a warning.
 *
 * @throws CraftError `HUB_LOCAL_DIFFERS`
 */
export async function judgeLocal(file: RemoteFile, context: LocalContext): Promise<'fetch' | 'keep'> {
  const { root, record, onWarning } = context;
  const path = localPath(root, file.path);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return 'fetch';
  const known = record.files[file.path];
  const untouched = record.isUntouched(file.path, path);
  const right = untouched
    ? known?.hash === file.hash
    : stat.isFile() && stat.size === file.size && (await hasContent(path, file));
  if (right) {
    remember(file, context);
    return 'keep';
  }
  if (untouched || (known !== undefined && stat.size === 0)) return 'fetch';
  if (known === undefined) throw differs(path, 'is not what the Hub has, and was not downloaded from it');
  if (!file.path.startsWith('meta/')) {
    onWarning(`${path}: was changed since it was downloaded; it is fetched again`);
    return 'fetch';
  }
  if (known.hash !== file.hash) throw differs(path, 'was changed both here and on the Hub');
  onWarning(`${path}: was changed since it was downloaded; it is kept, delete it to fetch it again`);
  record.set(file.path, { ...known, commit: context.commit });
  return 'keep';
}

/** Notes that the local file has the Hub's content. */
export function remember(file: RemoteFile, { root, commit, record }: LocalContext): void {
  const { size, algorithm, hash } = file;
  const { mtimeMs } = statSync(localPath(root, file.path));
  const known = record.files[file.path];
  if (known?.hash === hash && known.mtime_ms === mtimeMs && known.commit === commit) return;
  record.set(file.path, { size, algorithm, hash, mtime_ms: mtimeMs, commit });
}

/** Removes what was downloaded below `folder`, is untouched since, and is not among the files of the repository any more. */
export function removeStale(
  root: string,
  record: DownloadRecord,
  present: readonly RemoteFile[],
  folder: string,
): void {
  const paths = new Set(present.map((file) => file.path));
  for (const path of Object.keys(record.files)) {
    if (!path.startsWith(folder) || paths.has(path)) continue;
    const local = localPath(root, path);
    if (record.isUntouched(path, local)) rmSync(local);
    record.forget(path);
  }
}

function differs(path: string, how: string): CraftError {
  return new CraftError(
    'HUB_LOCAL_DIFFERS',
    `${path}: ${how}; move it away to fetch the Hub's, or name another folder`,
  );
}
