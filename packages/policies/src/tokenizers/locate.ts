import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { DownloadModelOptions } from '@craft-ft/datasets';
import { looksLikeRepoId, tokenizerCacheFolder } from '@craft-ft/datasets/hub-names';
import { isPlainObject, type PlainObject } from '@craft-ft/datasets/json';
import { CraftError } from '@craft-ft/torch/errors';

/** Whether a name refers to a built-in tokeniser, such as `builtin:bytes`. */
export function isBuiltin(name: string): boolean {
  return name.startsWith('builtin:');
}

/**
 * The folder of a tokeniser: `name` itself if it is a folder with `tokenizer.json`, else where {@link fetchTokenizer} has put the
 * Hub repository of that name. Does not use the network.
 *
 * @throws CraftError `TOKENIZER_MISSING` naming the folder and the remedy
 */
export function tokenizerFolder(name: string): string {
  if (existsSync(join(name, 'tokenizer.json'))) return name;
  if (existsSync(name)) {
    throw new CraftError('TOKENIZER_MISSING', `${name}: has no tokenizer.json; is it a tokenizer's folder?`);
  }
  const cached = looksLikeRepoId(name) ? tokenizerCacheFolder(name) : null;
  if (cached !== null && existsSync(join(cached, 'tokenizer.json'))) return cached;
  const remedy =
    cached === null
      ? 'no such folder; give a folder with tokenizer.json or a name on the Hugging Face Hub'
      : `has not been downloaded to ${cached}; call fetchTokenizer first, or give a folder with tokenizer.json`;
  throw new CraftError('TOKENIZER_MISSING', `tokenizer ${name}: ${remedy}`);
}

/**
 * Downloads a tokeniser if its name is a Hub repository whose files are not on this machine yet; built-in ones and folders need no
 * download. Policies and processors are built synchronously, so call this first.
 *
 * @throws CraftError as `downloadTokenizer`
 */
export async function fetchTokenizer(name: string, options: DownloadModelOptions = {}): Promise<void> {
  if (isBuiltin(name) || existsSync(name) || !looksLikeRepoId(name)) return;
  if (existsSync(join(tokenizerCacheFolder(name), 'tokenizer.json'))) return;
  // Imported on demand: reading a policy's configuration must not load the Hub client.
  const { downloadTokenizer } = await import('@craft-ft/datasets');
  await downloadTokenizer(name, options);
}

/**
 * Reads a JSON object from a tokeniser's folder; null if the file is absent.
 *
 * @throws CraftError `TOKENIZER_INVALID`
 */
export function readTokenizerJson(folder: string, name: string): PlainObject | null {
  const path = join(folder, name);
  if (!existsSync(path)) return null;
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new CraftError('TOKENIZER_INVALID', `${path}: ${(cause as Error).message}`, { cause });
  }
  if (!isPlainObject(value)) throw new CraftError('TOKENIZER_INVALID', `${path}: expected a JSON object`);
  return value;
}

/** Caches what was loaded from a folder until its `tokenizer.json` changes: reading PaliGemma's takes a second. */
export class FolderCache<T> {
  readonly #made = new Map<string, { stamp: string; value: T }>();

  get(folder: string, make: () => T): T {
    const { mtimeMs, size } = statSync(join(folder, 'tokenizer.json'));
    const stamp = `${mtimeMs}/${size}`;
    const known = this.#made.get(folder);
    if (known?.stamp === stamp) return known.value;
    const value = make();
    this.#made.set(folder, { stamp, value });
    return value;
  }
}
