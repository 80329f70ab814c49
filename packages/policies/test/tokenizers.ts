import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { findGolden } from '../../torch/test/shared.js';
import { FastTokenizer } from '../src/pi0_fast/fast/tokenizer.js';

/** A file of the reference numbers for π0-FAST; null where they are not here. */
export const goldenPi0Path = (...parts: string[]): string | null => findGolden('pi0_fast', ...parts);

export function readGolden<T>(...parts: string[]): T {
  return JSON.parse(readFileSync(goldenPi0Path(...parts)!, 'utf8')) as T;
}

const folders: string[] = [];

afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** A new folder, removed after the tests of the file. */
export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'craft-tokenizer-'));
  folders.push(folder);
  return folder;
}

/** A text tokeniser's folder with Gemma's pipeline and a small vocabulary. */
export function toyTextFolder(): string {
  const folder = newFolder();
  copyFileSync(goldenPi0Path('toy_text_tokenizer.json')!, join(folder, 'tokenizer.json'));
  return folder;
}

/** A small FAST tokeniser for chunks [T, D] of smooth motions, saved in a folder. */
export function smallFast(
  steps: number,
  width: number,
  vocabSize = 256,
): { folder: string; tokenizer: FastTokenizer } {
  const chunks = Array.from({ length: 40 }, (_, n) =>
    Array.from({ length: steps }, (_, t) =>
      Array.from({ length: width }, (_, d) => Math.sin(0.3 * n + t / (3 + d)) * Math.cos(0.7 * n + d)),
    ),
  );
  const tokenizer = FastTokenizer.fit(chunks, [steps, width], { vocabSize });
  const folder = newFolder();
  tokenizer.save(folder);
  return { folder, tokenizer };
}
