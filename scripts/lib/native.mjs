// Compiles packages/torch/native against a libtorch into one addon, file by file and only what has changed.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { hash, nativeDir, readJson, root } from './paths.mjs';
import { probe, run, SetupError } from './ui.mjs';

/** @typedef {import('./libtorch.mjs').Libtorch} Libtorch */

const isMac = process.platform === 'darwin';

/** @param {Libtorch} libtorch */
function compileFlags(libtorch) {
  const napi = join(root, 'node_modules/node-api-headers/include');
  if (!existsSync(napi)) throw new SetupError('node-api-headers is not installed. Run: npm ci');
  // As system headers, so that libtorch's warnings stay out of our own. /usr/include must not be named at all:
  // moved within the search order it breaks the standard library's #include_next.
  const includes = libtorch.includeDirs
    .filter((dir) => dir !== '/usr/include')
    .flatMap((dir) => ['-isystem', dir]);
  return [
    ...[
      `-std=${cxxStandard(libtorch)}`,
      '-O2',
      '-fPIC',
      '-fvisibility=hidden',
      '-Wall',
      '-Wextra',
      '-Wno-psabi',
    ],
    ...[
      '-DNAPI_VERSION=8',
      '-DNODE_GYP_MODULE_NAME=torch',
      `-D_GLIBCXX_USE_CXX11_ABI=${Number(libtorch.cxx11Abi)}`,
    ],
    ...includes,
    ...['-isystem', napi],
  ];
}

/** libtorch's headers say themselves when C++17 is too old for them. @param {Libtorch} libtorch */
function cxxStandard(libtorch) {
  const header = join(libtorch.includeDirs[0] ?? '', 'ATen/ATen.h');
  const needs20 = existsSync(header) && /C\+\+20 or later/.test(readFileSync(header, 'utf8'));
  return needs20 ? 'c++20' : 'c++17';
}

/** @param {Libtorch} libtorch */
function linkFlags(libtorch) {
  const names = ['torch', 'torch_cpu', 'c10', ...(libtorch.cuda ? ['torch_cuda', 'c10_cuda'] : [])];
  const libs = [`-L${libtorch.libDir}`, `-Wl,-rpath,${libtorch.libDir}`];
  if (isMac) return ['-bundle', '-undefined', 'dynamic_lookup', ...libs, ...names.map((name) => `-l${name}`)];
  // Nothing here calls into torch_cuda by name: its kernels register themselves when it is loaded, so it must be
  // linked although it looks unneeded.
  return ['-shared', ...libs, '-Wl,--no-as-needed', ...names.map((name) => `-l${name}`)];
}

/** @param {string} dir @param {RegExp} pattern */
const namesIn = (dir, pattern) =>
  existsSync(dir)
    ? readdirSync(dir)
        .filter((name) => pattern.test(name))
        .sort()
    : [];

/**
 * Runs jobs, at most `width` at a time; the first failure is thrown when the running ones have ended.
 * @param {(() => Promise<unknown>)[]} jobs
 * @param {number} width
 */
async function pool(jobs, width) {
  const queue = [...jobs];
  const worker = async () => {
    for (let job = queue.shift(); job; job = queue.shift()) {
      await job().catch((error) => {
        queue.length = 0;
        throw error;
      });
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: width }, worker));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}

/**
 * @param {{ libtorch: Libtorch, compiler: string, out: string, sources?: string }} options `out` is the folder that
 *   gets torch.node and libtorch.json
 */
export function planNative({ libtorch, compiler, out, sources = nativeDir }) {
  const files = namesIn(sources, /\.(cpp|cc)$/);
  const headers = namesIn(sources, /\.(h|hpp)$/).map((name) => readFileSync(join(sources, name), 'utf8'));
  const flags = compileFlags(libtorch);
  const library = statSync(join(libtorch.libDir, `libtorch_cpu.${isMac ? 'dylib' : 'so'}`));
  // The library's size and time stand for its contents: an upgrade in place changes them.
  const common = [
    probe(compiler, ['--version']) ?? '',
    ...flags,
    libtorch.version,
    `${library.size} ${library.mtimeMs}`,
  ];
  const objects = join(out, 'obj');
  const units = files.map((name) => {
    const source = join(sources, name);
    const key = hash(readFileSync(source, 'utf8'), ...headers, ...common);
    return { source, object: join(objects, `${name}.${key}.o`) };
  });
  const linkKey = hash(...units.map((unit) => unit.object), ...linkFlags(libtorch));
  const addon = join(out, 'torch.node');
  const record = join(out, 'libtorch.json');
  const stale = units.filter((unit) => !existsSync(unit.object));
  const upToDate = existsSync(addon) && readJson(record)?.linkKey === linkKey;
  return { upToDate, units, stale, compile };

  /** @returns {Promise<string>} the compiler's warnings */
  async function compile() {
    if (units.length === 0) throw new SetupError(`${sources} has no C++ sources.`);
    mkdirSync(objects, { recursive: true });
    // Everything is written beside its place and moved there: neither a broken-off build nor a process that has the
    // old addon loaded ever meets half a file.
    let warnings = '';
    const jobs = stale.map((unit) => async () => {
      const partial = `${unit.object}.${process.pid}`;
      warnings += await run(compiler, [...flags, '-c', unit.source, '-o', partial]);
      renameSync(partial, unit.object);
    });
    // Each compiler takes about a gigabyte for libtorch's headers.
    await pool(jobs, Math.min(4, availableParallelism()));
    const partial = `${addon}.${process.pid}`;
    await run(compiler, [...units.map((unit) => unit.object), ...linkFlags(libtorch), '-o', partial]);
    renameSync(partial, addon);
    writeFileSync(`${record}.${process.pid}`, `${JSON.stringify({ ...libtorch, linkKey }, null, 2)}\n`);
    renameSync(`${record}.${process.pid}`, record);
    const current = new Set(units.map((unit) => unit.object));
    for (const name of readdirSync(objects)) {
      // What has no .o at its end, another build may be writing.
      if (name.endsWith('.o') && !current.has(join(objects, name)))
        rmSync(join(objects, name), { force: true });
    }
    return warnings;
  }
}
