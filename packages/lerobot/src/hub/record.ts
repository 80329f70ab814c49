import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { atomicWriteFile } from '@craft-ft/torch';
import { z } from 'zod';
import { errnoCode } from './errno.js';

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
    } catch (error) {
      if (errnoCode(error) !== 'ENOENT' && errnoCode(error) !== 'ENOTDIR') rmSync(path, { force: true });
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

  begin(last: Omit<RecordContent, 'files'>): void {
    this.#content = { ...last, files: this.#content?.files ?? {} };
    this.#changed = true;
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
