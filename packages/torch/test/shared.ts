import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../../../../shared', import.meta.url));

/** The folder of real robot data and more recorded numbers beside the repository, or null in a plain clone. */
export const shared: string | null = existsSync(folder) ? folder : null;

/** A path inside the shared folder; only call it where `shared` is not null. */
export function sharedPath(...parts: string[]): string {
  return [folder, ...parts].join('/');
}

/** A file or folder of recorded numbers: the one in this repository, else the one in the shared folder, else null. */
export function findGolden(...parts: string[]): string | null {
  const own = ['torch', 'policies'].map((name) =>
    fileURLToPath(new URL(`../../${name}/test/golden/${parts.join('/')}`, import.meta.url)),
  );
  return [...own, sharedPath('golden', ...parts)].find((path) => existsSync(path)) ?? null;
}

if (shared === null) console.warn('there is no folder ../shared: tests of robot data in it are skipped');
