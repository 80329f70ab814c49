import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../../../../shared', import.meta.url));

/** The folder of golden numbers and real robot data beside the repository, or null in a plain clone. */
export const shared: string | null = existsSync(folder) ? folder : null;

/** A path inside the shared folder; only call it where `shared` is not null. */
export function sharedPath(...parts: string[]): string {
  return [folder, ...parts].join('/');
}

if (shared === null)
  console.warn(
    'the shared folder of golden numbers and robot data is absent: tests that need it are skipped',
  );
