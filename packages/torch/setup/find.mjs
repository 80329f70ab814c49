// The order in which set-up looks for libtorch.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { inspect, isSupported } from './libtorch.mjs';
import { fromPip, fromPython } from './pip.mjs';
import { aptInstall, blasIsSlow, isDebian } from './system.mjs';
import { probe, SetupError, say, which } from './ui.mjs';

/** @typedef {import('./libtorch.mjs').Libtorch} Libtorch */

/** @param {string} folder @param {'env' | 'path'} source @param {string} name of the setting, for people */
function fromFolder(folder, source, name) {
  const found = inspect(resolve(folder), source, `${name} names it`);
  if (found) return found;
  throw new SetupError(
    `${name}=${folder} is no libtorch: it must be a folder with include/ATen and lib/libtorch_cpu.`,
  );
}

/** @param {boolean} install whether apt may be asked */
async function fromDebian(install) {
  const here = () => inspect('/usr', 'debian', 'it is libtorch-dev of this system');
  const found = here();
  if (found || !install || !isDebian) return found;
  await aptInstall(['libtorch-dev', 'libopenblas0-pthread'], 'libtorch and a fast BLAS').catch((error) => {
    throw new SetupError(
      `${error.message}\nAny other libtorch from 1.13 on will do too: activate a Python with torch (pip install torch), or set LIBTORCH.`,
    );
  });
  return here();
}

function fromHomebrew() {
  const prefix = which('brew') && probe('brew', ['--prefix', 'pytorch']);
  return prefix && existsSync(prefix) ? inspect(prefix, 'homebrew', "it is Homebrew's pytorch") : null;
}

/** @param {string | undefined} wish @returns {Promise<Libtorch | null>} */
async function search(wish) {
  if (wish === 'debian') return fromDebian(true);
  if (wish === 'python') return fromPython(false) ?? (await fromPip());
  if (wish) return fromFolder(wish, 'path', '--libtorch');
  if (process.env.LIBTORCH) return fromFolder(process.env.LIBTORCH, 'env', 'LIBTORCH');
  return fromPython(true) ?? (await fromPip()) ?? (await fromDebian(true)) ?? fromHomebrew();
}

/**
 * @param {string} [wish] 'debian', 'python' or a folder: look nowhere else
 * @returns {Promise<Libtorch>}
 */
export async function findLibtorch(wish) {
  const found = await search(wish);
  if (!found) {
    if (wish) throw new SetupError(`No libtorch of the kind '${wish}' is to be had here.`, 3);
    const command = process.platform === 'darwin' ? 'brew install pytorch' : 'python3 -m pip install torch';
    throw new SetupError(`No libtorch found. Run: ${command}  (or set LIBTORCH to the folder of one)`, 3);
  }
  if (!isSupported(found)) {
    throw new SetupError(`libtorch ${found.version} in ${found.root} is too old: 1.13 or later is needed.`);
  }
  if (found.source === 'debian' && isDebian && blasIsSlow()) {
    // Slow, but not wrong: without the right to install it, a word of advice is enough.
    await aptInstall(['libopenblas0-pthread'], 'a fast BLAS').catch((error) =>
      say(`Slow BLAS: ${error.message}`),
    );
  }
  return found;
}
