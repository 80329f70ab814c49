import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { atomicWriteFile } from '@craft-ft/torch';
import { CraftError } from '@craft-ft/torch/errors';
import { z } from 'zod';
import { hasContent, localPath, type RemoteFile } from './remote.js';

const fileSchema = z.object({
  size: z.number(),
  algorithm: z.enum(['sha256', 'git-sha1']),
  hash: z.string(),
  /** Modification time in milliseconds when the content was last known to match this hash. */
  mtime_ms: z.number(),
  /** Commit of the repository that the content belongs to. */
  commit: z.string(),
});

const recordSchema = z.object({
  repo: z.string(),
  endpoint: z.string(),
  /** Branch, tag or commit of the last download. */
  revision: z.string(),
  commit: z.string(),
  /** Whether that download was completed. */
  complete: z.boolean(),
  /** Files named by its metadata that the repository does not have. */
  absent: z.array(z.string()),
  files: z.record(z.string(), fileSchema),
});
type RecordContent = z.infer<typeof recordSchema>;
type RecordedFile = z.infer<typeof fileSchema>;

const WRITE_EVERY_MS = 1000;

/** The folder, inside a downloaded repository, for the record and incomplete files. */
export function workFolder(root: string): string {
  return join(root, '.cache', 'craft');
}

/**
 * What is known about a downloaded folder, kept in `.cache/craft/hub.json` inside it: which files came from the Hub, and their hashes, so
 * that they need not be read again to be verified.
 */
export class DownloadRecord {
  readonly #path: string;
  #content: RecordContent | undefined;
  #written = 0;
  #changed = false;

  private constructor(path: string, content: RecordContent | undefined) {
    this.#path = path;
    this.#content = content;
  }

  /** A missing or unreadable record counts as empty: files are then compared by their hashes. */
  static open(root: string): DownloadRecord {
    const path = join(workFolder(root), 'hub.json');
    let content: RecordContent | undefined;
    try {
      content = recordSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
    } catch {
      // The files are then compared by their hashes, which takes longer.
    }
    return new DownloadRecord(path, content);
  }

  /** The last download, or undefined if nothing was downloaded into the folder. */
  get last(): Omit<RecordContent, 'files'> | undefined {
    return this.#content;
  }

  /** Files of the repository that were downloaded, or found here with the right content. */
  get files(): Readonly<Record<string, RecordedFile>> {
    return this.#content?.files ?? {};
  }

  /** Whether a file is unmodified since it had the recorded hash. */
  isUntouched(path: string, local: string): boolean {
    const known = this.files[path];
    const stat = statSync(local, { throwIfNoEntry: false });
    return known !== undefined && stat?.size === known.size && stat.mtimeMs === known.mtime_ms;
  }

  isAbsent(path: string): boolean {
    return this.#content?.absent.includes(path) ?? false;
  }

  begin(last: Omit<RecordContent, 'files' | 'complete' | 'absent'>): void {
    const { files = {}, absent = [], commit } = this.#content ?? {};
    this.#content = { ...last, complete: false, files, absent: commit === last.commit ? absent : [] };
    this.#changed = true;
  }

  /** @param absent requested files that the repository does not have. */
  finish(absent: readonly string[] = []): void {
    this.#content!.complete = true;
    this.#content!.absent = [...new Set([...this.#content!.absent, ...absent])].sort();
    this.#changed = true;
    this.save();
  }

  set(path: string, file: RecordedFile): void {
    this.#content!.files[path] = file;
    this.#changed = true;
    if (Date.now() - this.#written > WRITE_EVERY_MS) this.save();
  }

  forget(path: string): void {
    delete this.#content!.files[path];
    this.#changed = true;
  }

  /** @throws CraftError `DISK_FULL`, `WRITE_FAILED` */
  save(): void {
    if (!this.#changed || this.#content === undefined) return;
    mkdirSync(dirname(this.#path), { recursive: true });
    atomicWriteFile(this.#path, `${JSON.stringify(this.#content, null, 1)}\n`);
    this.#changed = false;
    this.#written = Date.now();
  }
}

/** The commit at which a folder was downloaded; null if nothing was downloaded into it. */
export function downloadedCommit(root: string): string | null {
  return DownloadRecord.open(root).last?.commit ?? null;
}

interface LocalContext {
  root: string;
  commit: string;
  record: DownloadRecord;
  onWarning: (message: string) => void;
}

/**
 * Decides what to do about a file of the repository, given what is in the folder:
 * - nothing, or an older version that came from the Hub: download it;
 * - the Hub's content: nothing, but record it;
 * - something that never came from the Hub, such as the user's own recording: refuse, so that nothing of theirs is overwritten;
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

/** Records that the local file has the Hub's content. */
export function remember(file: RemoteFile, { root, commit, record }: LocalContext): void {
  const { size, algorithm, hash } = file;
  const { mtimeMs } = statSync(localPath(root, file.path));
  const known = record.files[file.path];
  if (known?.hash === hash && known.mtime_ms === mtimeMs && known.commit === commit) return;
  record.set(file.path, { size, algorithm, hash, mtime_ms: mtimeMs, commit });
}

/** Removes files below `folder` that were downloaded, are unmodified since, and are no longer in the repository. */
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
