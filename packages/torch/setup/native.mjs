// Compiles native/ against a libtorch, file by file and only what has changed: the addon, and the library of
// kernels, which is no part of it, so that Python can load it too.
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
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { hash, nativeDir, readJson } from './paths.mjs';
import { probe, run, SetupError, say, step } from './ui.mjs';

/** @typedef {import('./libtorch.mjs').Libtorch} Libtorch */

const isMac = process.platform === 'darwin';

/** What every file that includes libtorch is compiled with. @param {Libtorch} libtorch */
function compileFlags(libtorch) {
  // As system headers, so that libtorch's warnings stay out of our own. /usr/include must not be named at all:
  // moved within the search order it breaks the standard library's #include_next.
  const includes = libtorch.includeDirs
    .filter((dir) => dir !== '/usr/include')
    .flatMap((dir) => ['-isystem', dir]);
  return [...common(libtorch), '-O2', `-D_GLIBCXX_USE_CXX11_ABI=${Number(libtorch.cxx11Abi)}`, ...includes];
}

/** @param {Libtorch} libtorch */
const common = (libtorch) => [
  `-std=${cxxStandard(libtorch)}`,
  '-fPIC',
  '-fvisibility=hidden',
  '-Wall',
  '-Wextra',
  '-Wno-psabi',
];

/** The folder of Node-API's headers. */
function nodeApi() {
  try {
    return join(dirname(createRequire(import.meta.url).resolve('node-api-headers')), 'include');
  } catch {
    throw new SetupError('node-api-headers is not installed. Run: npm install');
  }
}

/** @param {Libtorch} libtorch */
function addonFlags(libtorch) {
  return [
    ...compileFlags(libtorch),
    '-DNAPI_VERSION=8',
    '-DNODE_GYP_MODULE_NAME=torch',
    '-isystem',
    nodeApi(),
  ];
}

/** libtorch's headers say themselves when C++17 is too old for them. @param {Libtorch} libtorch */
function cxxStandard(libtorch) {
  const header = join(libtorch.includeDirs[0] ?? '', 'ATen/ATen.h');
  const needs20 = existsSync(header) && /C\+\+20 or later/.test(readFileSync(header, 'utf8'));
  return needs20 ? 'c++20' : 'c++17';
}

/** @param {Libtorch} libtorch @param {boolean} isAddon */
function linkFlags(libtorch, isAddon) {
  const names = ['torch', 'torch_cpu', 'c10', ...(libtorch.cuda ? ['torch_cuda', 'c10_cuda'] : [])];
  const libs = [`-L${libtorch.libDir}`, `-Wl,-rpath,${libtorch.libDir}`];
  if (isMac) {
    const kind = isAddon ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-dynamiclib'];
    return [...kind, ...libs, ...names.map((name) => `-l${name}`)];
  }
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
 * One file and how to compile it.
 * @typedef {{ source: string, name: string, flags: string[] }} Unit
 */

/**
 * @typedef {object} Plan
 * @property {boolean} upToDate
 * @property {{ source: string, object: string }[]} units
 * @property {{ source: string, object: string }[]} stale those to compile
 * @property {() => Promise<string>} compile gives the compiler's warnings
 */

/**
 * @param {{ libtorch: Libtorch, compiler: string, units: Unit[], headers: string[], link: string[], objects: string,
 *   target: string, record: string, recorded?: object }} options `record` is the file that says what `target` was built of
 * @returns {Plan}
 */
function plan({ libtorch, compiler, units: files, headers, link, objects, target, record, recorded = {} }) {
  const library = statSync(join(libtorch.libDir, `libtorch_cpu.${isMac ? 'dylib' : 'so'}`));
  // The library's size and time stand for its contents: an upgrade in place changes them.
  const common = [
    probe(compiler, ['--version']) ?? '',
    libtorch.version,
    `${library.size} ${library.mtimeMs}`,
  ];
  const headerTexts = headers.map((path) => readFileSync(path, 'utf8'));
  const units = files.map(({ source, name, flags }) => {
    const key = hash(readFileSync(source, 'utf8'), ...headerTexts, ...common, ...flags);
    return { source, flags, object: join(objects, `${name}.${key}.o`) };
  });
  const linkKey = hash(...units.map((unit) => unit.object), ...link);
  const stale = units.filter((unit) => !existsSync(unit.object));
  const upToDate = existsSync(target) && readJson(record)?.linkKey === linkKey;
  return { upToDate, units, stale, compile };

  async function compile() {
    mkdirSync(objects, { recursive: true });
    // Everything is written beside its place and moved there: neither a broken-off build nor a process that has the
    // old file loaded ever meets half a file.
    let warnings = '';
    const jobs = stale.map((unit) => async () => {
      const partial = `${unit.object}.${process.pid}`;
      warnings += await run(compiler, [...unit.flags, '-c', unit.source, '-o', partial]);
      renameSync(partial, unit.object);
    });
    // Each compiler takes about a gigabyte for libtorch's headers.
    await pool(jobs, Math.min(4, availableParallelism()));
    const partial = `${target}.${process.pid}`;
    await run(compiler, [...units.map((unit) => unit.object), ...link, '-o', partial]);
    renameSync(partial, target);
    writeFileSync(`${record}.${process.pid}`, `${JSON.stringify({ ...recorded, linkKey }, null, 2)}\n`);
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

/** @param {string} dir */
const headersIn = (dir) => namesIn(dir, /\.(h|hpp)$/).map((name) => join(dir, name));

/**
 * @param {{ libtorch: Libtorch, compiler: string, out: string, sources?: string }} options `out` is the folder that
 *   gets torch.node and libtorch.json
 */
export function planNative({ libtorch, compiler, out, sources = nativeDir }) {
  const names = namesIn(sources, /\.(cpp|cc)$/);
  if (names.length === 0) throw new SetupError(`${sources} has no C++ sources.`);
  const flags = addonFlags(libtorch);
  return plan({
    libtorch,
    compiler,
    units: names.map((name) => ({ source: join(sources, name), name, flags })),
    headers: headersIn(sources),
    link: linkFlags(libtorch, true),
    objects: join(out, 'obj'),
    target: join(out, 'torch.node'),
    record: join(out, 'libtorch.json'),
    recorded: libtorch,
  });
}

/** The inner loops, once per instruction set; which one runs is decided when the library is loaded. */
const LEVELS = {
  plain: [],
  avx2: ['-mavx2', '-mfma'],
  avx512: ['-mavx512f', '-mavx512bw', '-mavx512dq', '-mavx512vl', '-mprefer-vector-width=512'],
};

/** Where the library of kernels goes. @param {string} out */
export const kernelLibrary = (out) => join(out, `libcraft_kernels.${isMac ? 'dylib' : 'so'}`);

/** The library of kernels, beside the addon. @param {{ libtorch: Libtorch, compiler: string, out: string }} options */
export function planKernels({ libtorch, compiler, out }) {
  const sources = join(nativeDir, 'kernels');
  const levels = Object.entries(LEVELS).filter(([level]) => level === 'plain' || process.arch === 'x64');
  // Every level rounds alike, so a*b+c must not be contracted; the other two let the compiler use vectors.
  const exact = ['-O3', '-ffp-contract=off', '-fno-math-errno', '-fno-trapping-math'];
  const loops = levels.map(([level, flags]) => ({
    source: join(sources, 'loops.cpp'),
    name: `loops-${level}`,
    flags: [...common(libtorch), ...exact, ...flags, `-DCRAFT_LEVEL=${level}`],
  }));
  // Not linked with OpenMP: its functions are then libtorch's own, and with them its number of threads.
  const openmp = isMac ? [] : ['-fopenmp'];
  const ops = {
    source: join(sources, 'ops.cpp'),
    name: 'ops',
    flags: [...compileFlags(libtorch), ...openmp],
  };
  return plan({
    libtorch,
    compiler,
    units: [ops, ...loops],
    headers: headersIn(sources),
    link: linkFlags(libtorch, false),
    objects: join(out, 'obj-kernels'),
    target: kernelLibrary(out),
    record: join(out, 'kernels.json'),
  });
}

/**
 * Builds what is not up to date. The addon must be built; without the kernels everything works, more slowly.
 *
 * @param {{ libtorch: Libtorch, compiler: string, out: string }} options
 * @returns {Promise<string | null>} the compiler's warnings; null when there was nothing to do
 */
export async function buildNative(options) {
  let warnings = null;
  for (const [what, make] of /** @type {const} */ ([
    ['addon', planNative],
    ['kernels', planKernels],
  ])) {
    const { upToDate, stale, units, compile } = make(options);
    if (upToDate) continue;
    const title = `Compiling the ${what} with ${options.compiler} (${stale.length} of ${units.length} files)`;
    try {
      warnings = (warnings ?? '') + (await step(title, compile));
    } catch (error) {
      if (what === 'addon' || !(error instanceof SetupError)) throw error;
      // An old library would belong to other sources, or to another libtorch.
      rmSync(kernelLibrary(options.out), { force: true });
      say(
        `${error.message}\nThe kernels could not be built: updates are composed of libtorch's operators instead.`,
      );
    }
  }
  return warnings;
}
