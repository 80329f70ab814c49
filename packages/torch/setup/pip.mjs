// libtorch from a Python package: one that a Python already has, or one that pip puts into a folder of its own.
import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from './libtorch.mjs';
import { localTorch } from './paths.mjs';
import { hasNvidiaGpu } from './system.mjs';
import { probe, run, say, step, which } from './ui.mjs';

/** @typedef {import('./libtorch.mjs').Libtorch} Libtorch */

/** @returns {string[]} the Pythons to ask, in order, each once */
function pythons() {
  const names = [process.env.PYTHON, 'python3', 'python', '/usr/bin/python3'];
  const paths = names.map((name) => (name ? which(name) : null));
  return [...new Set(paths.filter((path) => path !== null))];
}

// Importing torch takes seconds; where its files are is known without.
const whereIsTorch =
  'import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s else "")';

/**
 * @param {boolean} evenDebians whether Debian's own python3-torch counts, which is the libtorch of libtorch-dev
 * @returns {Libtorch | null}
 */
export function fromPython(evenDebians) {
  for (const python of pythons()) {
    const folder = probe(python, ['-c', whereIsTorch]);
    const found = folder && inspect(folder, 'python', `${python} has torch`);
    if (found && (evenDebians || found.source !== 'debian')) return found;
  }
  return null;
}

/**
 * What pip would install, without installing it.
 * @param {string} python
 * @param {string[]} options
 * @returns {Promise<{ version: string, cuda: boolean } | null>}
 */
async function dryRun(python, options) {
  const report = join(tmpdir(), `craft-pip-${process.pid}.json`);
  const args = ['-m', 'pip', 'install', '--dry-run', '--quiet', '--ignore-installed', '--no-deps'];
  // An index that does not answer must cost seconds, not minutes.
  const limits = ['--only-binary=:all:', '--retries=0', '--timeout=5', `--report=${report}`];
  try {
    await run(python, [...args, ...limits, ...options, 'torch'], { timeout: 20_000 });
    const { metadata } = JSON.parse(readFileSync(report, 'utf8')).install[0];
    const needs = /** @type {string[]} */ (metadata.requires_dist ?? []);
    return { version: metadata.version, cuda: needs.some((name) => /^(nvidia|cuda|triton)/.test(name)) };
  } catch {
    return null;
  } finally {
    rmSync(report, { force: true });
  }
}

/**
 * Takes what pip has put into this project before, or lets it: a build for CPUs anywhere, one for CUDA (gigabytes)
 * only where there is an NVIDIA GPU.
 * @returns {Promise<Libtorch | null>}
 */
export async function fromPip() {
  const here = () => inspect(join(localTorch, 'torch'), 'pip', 'pip installed it into .libtorch');
  const present = here();
  if (present) return present;
  const gpu = hasNvidiaGpu();
  for (const python of pythons()) {
    if (probe(python, ['-m', 'pip', '--version']) === null) continue;
    // The second try is for wheels that pip's own configuration keeps in a local folder.
    for (const options of [[], ['--no-index']]) {
      const offer = await dryRun(python, options);
      if (!offer) continue;
      if (offer.cuda && !gpu) {
        say(`pip offers torch ${offer.version} for CUDA (gigabytes); without an NVIDIA GPU it is not taken.`);
        continue;
      }
      const kind = offer.cuda ? 'for CUDA, some gigabytes, as there is an NVIDIA GPU' : 'for CPUs';
      const args = [
        '-m',
        'pip',
        'install',
        '--quiet',
        '--upgrade',
        '--only-binary=:all:',
        '--target',
        localTorch,
      ];
      // The libraries of a CPU build stand alone; those of a CUDA build need NVIDIA's packages.
      if (!offer.cuda) args.push('--no-deps');
      const installed = step(`Installing torch ${offer.version} (${kind}) with pip into .libtorch`, () =>
        run(python, [...args, ...options, `torch==${offer.version}`]),
      );
      const failure = await installed.then(
        () => null,
        (error) => error,
      );
      const found = failure ? null : here();
      if (found) return found;
      say(`pip could not install torch ${offer.version}; looking elsewhere.`);
      rmSync(localTorch, { recursive: true, force: true });
    }
  }
  return null;
}
