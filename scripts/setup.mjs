#!/usr/bin/env node
// Makes a checkout ready to run: libtorch, npm packages, the addon, the TypeScript. Says what it does; does nothing
// when there is nothing to do. Needs Node and nothing else.
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findLibtorch } from '../packages/torch/setup/find.mjs';
import { inspect } from '../packages/torch/setup/libtorch.mjs';
import { buildNative, kernelLibrary } from '../packages/torch/setup/native.mjs';
import { buildDir, digestTree, hash, nativeDir, readJson } from '../packages/torch/setup/paths.mjs';
import { checkPlatform, ensureCompiler } from '../packages/torch/setup/system.mjs';
import { run, SetupError, say, step } from '../packages/torch/setup/ui.mjs';
import { buildTypeScript, isBuilt, root } from './lib/typescript.mjs';

const usage = `Usage: npm run setup -- [--libtorch=debian|python|FOLDER] [--build-dir=NAME] [--again]

  --libtorch   look only there: Debian's libtorch-dev, a Python's torch (or one from pip), or a folder
  --build-dir  build only the addon and kernels, into packages/torch/build-NAME; CRAFT_TORCH_ADDON=.../torch.node loads it
  --again      look for libtorch again, even if the one of the last time is still there`;

/** @typedef {import('../packages/torch/setup/libtorch.mjs').Libtorch} Libtorch */

/** A cheap stamp of everything that `npm run setup` depends on: if it has not changed, there is nothing to do. */
function takeStamp(/** @type {string} */ out, /** @type {string | undefined} */ wish) {
  const { LIBTORCH, PYTHON, VIRTUAL_ENV, CONDA_PREFIX, CXX } = process.env;
  const packages = readdirSync(join(root, 'packages')).map((name) => join(root, 'packages', name));
  const sources = packages.flatMap((dir) => [join(dir, 'src'), join(dir, 'tsconfig.json')]);
  const library = /** @type {Libtorch | null} */ (readJson(join(out, 'libtorch.json')))?.libDir;
  return {
    request: hash(
      wish ?? '',
      ...[LIBTORCH, PYTHON, VIRTUAL_ENV, CONDA_PREFIX, CXX].map((value) => value ?? ''),
    ),
    libtorch: library ? digestTree(['so', 'dylib'].map((end) => join(library, `libtorch_cpu.${end}`))) : '',
    npm: digestTree([join(root, 'package-lock.json'), join(root, 'node_modules/.package-lock.json')]),
    addon: digestTree([join(out, 'torch.node'), kernelLibrary(out)]),
    native: digestTree([nativeDir, join(root, 'packages/torch/setup')]),
    typescript: digestTree(
      [...sources, join(root, 'tsconfig.json'), join(root, 'tsconfig.base.json')],
      (path) => !path.endsWith('.test.ts'),
    ),
    built: isBuilt(),
  };
}

/** Whether node_modules holds what package-lock.json says; npm keeps a list of what it has installed. */
function packagesAreInstalled() {
  const wanted = readJson(join(root, 'package-lock.json'))?.packages ?? {};
  const present = readJson(join(root, 'node_modules/.package-lock.json'))?.packages;
  if (!present) return false;
  // Optional packages are for other platforms.
  const missing = Object.entries(wanted).filter(
    ([path, entry]) =>
      path.startsWith('node_modules/') &&
      !entry.link &&
      (present[path] ? present[path].version !== entry.version : !entry.optional && !entry.peer),
  );
  return missing.length === 0;
}

async function installPackages() {
  if (packagesAreInstalled()) return;
  // Versions come from package-lock.json. `npm ci` would first delete what running programs are using, and it rejects a lock that lacks a
  // platform's optional package.
  await step('Installing npm packages', () =>
    run('npm', ['install', '--no-save', '--include=dev', '--no-audit', '--no-fund'], {
      cwd: root,
      // node-av contains FFmpeg as a library; its install script would also download the program, which nothing here uses.
      env: { ...process.env, SKIP_FFMPEG: 'true' },
    }),
  );
}

async function main() {
  const { values } = parseArgs({
    options: {
      libtorch: { type: 'string' },
      'build-dir': { type: 'string' },
      again: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return say(usage);
  checkPlatform();
  const out = buildDir(values['build-dir']);
  const stampPath = join(out, 'setup-stamp.json');
  const before = values.again ? null : readJson(stampPath);
  const now = takeStamp(out, values.libtorch);
  const record = readJson(join(out, 'libtorch.json'));
  if (before && record && JSON.stringify(before) === JSON.stringify(now)) {
    return say(`Set-up is up to date (libtorch ${record.version}: ${record.why}).`);
  }

  const keep = before?.request === now.request && record && inspect(record.root, record.source, record.why);
  const libtorch = keep || (await findLibtorch(values.libtorch));
  say(
    `libtorch ${libtorch.version}${libtorch.cuda ? ' with CUDA' : ''} in ${libtorch.libDir}: ${libtorch.why}.`,
  );
  const compiler = await ensureCompiler();
  await installPackages();
  await buildNative({ libtorch, compiler, out });
  if (!values['build-dir'] && (before?.typescript !== now.typescript || !now.built))
    await step('Building the TypeScript', buildTypeScript);

  mkdirSync(out, { recursive: true });
  // The sources as they were at the start: later changes are built the next time.
  const { native, typescript } = now;
  writeFileSync(stampPath, JSON.stringify({ ...takeStamp(out, values.libtorch), native, typescript }));
  say('Set-up is complete.');
}

await main().catch((error) => {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = error.exitCode;
});
