import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../../packages/torch/setup/ui.mjs';

export const root = fileURLToPath(new URL('../../', import.meta.url));

/** Whether every package has been built before. */
export const isBuilt = () =>
  readdirSync(join(root, 'packages')).every(
    (name) =>
      !existsSync(join(root, 'packages', name, 'tsconfig.json')) ||
      existsSync(join(root, 'packages', name, 'dist/index.js')),
  );

/** Builds what has changed. @throws SetupError with the compiler's messages */
export async function buildTypeScript() {
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  // tsc only looks at its build info, not at its output: it must be told when the output was deleted.
  await run(process.execPath, [tsc, '-b', ...(isBuilt() ? [] : ['--force'])], { cwd: root });
}
