// The environment of a benchmark: the addon's libtorch, and a Python that uses the same one.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../', import.meta.url));

/** Logical processors of this machine. */
export const cores = availableParallelism();

/** What set-up recorded about the libtorch that the addon was built against; null before set-up. */
function libtorch() {
  const path = join(root, 'packages/torch/build/libtorch.json');
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : null;
}

const ASK =
  'import os, torch; print(torch.__version__); print(os.path.realpath(os.path.dirname(torch.__file__)))';

/**
 * A Python whose torch uses exactly the addon's libtorch, so that only the binding differs.
 * @returns {{ command: string, env: Record<string, string>, version: string } | null}
 */
export function findPython() {
  const built = libtorch();
  if (built === null || !existsSync(join(built.root, '__init__.py'))) return null;
  const wanted = realpathSync(built.root);
  for (const command of [process.env.CRAFT_PYTHON, '/usr/bin/python3', 'python3'].filter(Boolean)) {
    for (const env of [{}, { PYTHONPATH: dirname(built.root) }]) {
      const asked = spawnSync(command, ['-c', ASK], { env: { ...process.env, ...env }, encoding: 'utf8' });
      const [version, found] = (asked.stdout ?? '').trim().split('\n');
      if (asked.status === 0 && found === wanted) return { command, env, version };
    }
  }
  return null;
}

/** Versions recorded with every result. */
export function versions(python) {
  const torch = `import('${join(root, 'packages/torch/dist/index.js')}').then((t) => console.log(t.libtorchVersion()))`;
  return {
    node: process.version,
    libtorch: execFileSync(process.execPath, ['-e', torch], { encoding: 'utf8' }).trim(),
    python_torch: python?.version ?? null,
    processor: cpus()[0].model,
    cores,
  };
}
