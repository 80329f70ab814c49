import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { atomicWriteFile } from '@craft-ft/torch';
import { z } from 'zod';

const fileSchema = z.object({
  size: z.number(),
  algorithm: z.enum(['sha256', 'git-sha1']),
  hash: z.string(),
  /** Modification time in milliseconds when the content was last known to have this hash. */
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
  /** Whether that download came to its end. */
  complete: z.boolean(),
  /** Files that its metadata names and the repository lacks. */
  absent: z.array(z.string()),
  files: z.record(z.string(), fileSchema),
});
type RecordContent = z.infer<typeof recordSchema>;
export type RecordedFile = z.infer<typeof fileSchema>;

const WRITE_EVERY_MS = 1000;

/** The folder, below a downloaded repository, for the record and for files that are not complete yet. */
export function workFolder(root: string): string {
  return join(root, '.cache', 'craft');
}

/**
 * What is known of a downloaded folder, kept in `.cache/craft/hub.json` inside it: which files came from the Hub and their hashes,
 * so that they need not be read again to know that they are right.
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

  /** An absent or unreadable record is an empty one: files are then compared by their hashes. */
  static open(root: string): DownloadRecord {
    const path = join(workFolder(root), 'hub.json');
    let content: RecordContent | undefined;
    try {
      content = recordSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
    } catch {
      // The files themselves say as much, only more slowly.
    }
    return new DownloadRecord(path, content);
  }

  /** The last download, or undefined for a folder that nothing was downloaded into. */
  get last(): Omit<RecordContent, 'files'> | undefined {
    return this.#content;
  }

  /** Files of the repository that were downloaded, or found here with the right content. */
  get files(): Readonly<Record<string, RecordedFile>> {
    return this.#content?.files ?? {};
  }

  /** Whether a file is as it was when it had the recorded hash. */
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

  /** @param absent files that were asked for and that the repository lacks. */
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

/** The commit that a folder was downloaded at; null for one that nothing was downloaded into. */
export function downloadedCommit(root: string): string | null {
  return DownloadRecord.open(root).last?.commit ?? null;
}
