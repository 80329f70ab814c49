import { readFileSync } from 'node:fs';
import { isAbsolute, relative, resolve, sep } from 'node:path';
import { CraftError } from '@craft-ft/torch/errors';

/** Where warnings go; by default the console. Each is one line. */
export type OnWarning = (message: string) => void;

/** Reads a file whole; undefined when it does not exist. */
export function readIfPresent(path: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    const buffer = readFileSync(path);
    return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength) as Uint8Array<ArrayBuffer>;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    const reason = error instanceof Error ? error.message : String(error);
    throw new CraftError('DATASET_FILE_UNREADABLE', `${path}: cannot be read: ${reason}`, { cause: error });
  }
}

/** Reads a UTF-8 file; undefined when it does not exist. */
export function readTextIfPresent(path: string): string | undefined {
  const bytes = readIfPresent(path);
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}

/** The error for a missing file that the dataset's metadata refers to. */
export function missingFile(path: string, remedy: string): CraftError {
  return new CraftError('DATASET_FILE_MISSING', `${path}: the file is missing; ${remedy}`);
}

/**
 * Parses JSON as Python writes it: the bare words `NaN`, `Infinity` and `-Infinity` outside strings become null.
 *
 * @throws CraftError `DATASET_FILE_INVALID` naming `where`.
 */
export function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (first) {
    try {
      return JSON.parse(
        text.replace(/"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b/g, (token) =>
          token[0] === '"' ? token : 'null',
        ),
      );
    } catch {
      const what = text.trim() === '' ? 'is empty' : `is not valid JSON (${firstLine(first)})`;
      throw new CraftError('DATASET_FILE_INVALID', `${where}: the file ${what}; download or record it again`);
    }
  }
}

/** Parses JSON Lines; blank lines are skipped. */
export function parseJsonLines(text: string, where: string): unknown[] {
  const values: unknown[] = [];
  text.split('\n').forEach((line, i) => {
    if (line.trim() !== '') values.push(parseJson(line, `${where}:${i + 1}`));
  });
  return values;
}

/** The first line of an error's message, for embedding in a one-line message. */
export function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
}

/**
 * Fills a path template of info.json, such as `data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet`, and resolves it
 * inside `root`.
 *
 * @throws CraftError `DATASET_PATH_INVALID` when a placeholder is unknown or the result leaves `root`.
 */
export function formatPath(
  root: string,
  template: string,
  values: Readonly<Record<string, number | string>>,
): string {
  const relativePath = template.replace(
    /\{([^{}:]*)(?::0?(\d*)d?)?\}/g,
    (placeholder, name: string, width) => {
      const value = values[name];
      if (value === undefined) {
        const known = Object.keys(values).join(', ');
        throw new CraftError(
          'DATASET_PATH_INVALID',
          `${root}/meta/info.json: path template "${template}" has the unknown placeholder ${placeholder}; known are ${known}`,
        );
      }
      return String(value).padStart(width ? Number(width) : 0, '0');
    },
  );
  const path = resolve(root, relativePath);
  const inside = relative(resolve(root), path);
  if (inside === '' || inside === '..' || inside.startsWith(`..${sep}`) || isAbsolute(inside)) {
    throw new CraftError(
      'DATASET_PATH_INVALID',
      `${root}/meta/info.json: path template "${template}" gives "${relativePath}", which is outside the dataset's folder`,
    );
  }
  return path;
}
