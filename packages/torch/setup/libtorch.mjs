// Recognises a libtorch in a folder and reads from its files what a build needs to know.
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * @typedef {object} Libtorch
 * @property {'env' | 'path' | 'python' | 'pip' | 'debian' | 'homebrew'} source where it comes from
 * @property {string} root the folder it was recognised in
 * @property {string} version of libtorch, such as 2.13.0
 * @property {boolean} cxx11Abi which of libstdc++'s two string ABIs it was compiled with
 * @property {boolean} cuda whether it brings CUDA kernels
 * @property {string[]} includeDirs
 * @property {string} libDir
 * @property {string} why it was chosen, for people
 */

const suffix = process.platform === 'darwin' ? 'dylib' : 'so';

/** @param {string} dir @param {string} name */
const hasLib = (dir, name) => existsSync(join(dir, `lib${name}.${suffix}`));

/**
 * Debian's python3-torch is a folder of links into /usr, where not all that the linker needs is linked; so the
 * links are followed to the folder that has everything.
 * @param {string} root @returns {string | null}
 */
function findLibDir(root) {
  const lib = join(root, 'lib');
  const multiarch = existsSync(lib) ? readdirSync(lib).filter((name) => name.includes('-linux-')) : [];
  for (const dir of [lib, ...multiarch.map((name) => join(lib, name)), join(root, 'lib64')]) {
    if (!hasLib(dir, 'torch_cpu')) continue;
    const real = dirname(realpathSync(join(dir, `libtorch_cpu.${suffix}`)));
    for (const candidate of [real, dir])
      if (hasLib(candidate, 'c10') && hasLib(candidate, 'torch')) return candidate;
  }
  return null;
}

/** @param {string} include @returns {string | null} */
function readVersion(include) {
  // The first is where libtorch 2.9 and later keep it.
  for (const file of ['torch/headeronly/version.h', 'torch/csrc/api/include/torch/version.h']) {
    const path = join(include, file);
    const match = existsSync(path) && /define TORCH_VERSION[\s\\]+"([^"]+)"/.exec(readFileSync(path, 'utf8'));
    if (match) return match[1];
  }
  return null;
}

/**
 * The two ABIs mangle std::string differently, so the names of c10's own functions tell which one it is.
 * @param {string} libDir
 */
function usesCxx11Abi(libDir) {
  if (process.platform === 'darwin') return true;
  const names = readFileSync(join(libDir, `libc10.${suffix}`), 'latin1');
  return /_ZNK?3c10\w*NSt7__cxx1112basic_string/.test(names) || !/_ZNK?3c10\w*ERKSs/.test(names);
}

/**
 * @param {string} root a folder with lib/ and include/: an unpacked libtorch, site-packages/torch, /usr
 * @param {Libtorch['source']} source
 * @param {string} why
 * @returns {Libtorch | null} null when the folder has no libtorch, or one without headers
 */
export function inspect(root, source, why) {
  const libDir = findLibDir(root);
  const ops = join(root, 'include/ATen');
  if (!libDir || !existsSync(join(ops, 'core/dispatch/Dispatcher.h'))) return null;
  const include = dirname(realpathSync(ops));
  const version = readVersion(include);
  if (!version) return null;
  return {
    source: libDir.startsWith('/usr/lib/') && source !== 'env' ? 'debian' : source,
    root,
    version,
    cxx11Abi: usesCxx11Abi(libDir),
    cuda: hasLib(libDir, 'torch_cuda') && hasLib(libDir, 'c10_cuda'),
    includeDirs: [include, join(include, 'torch/csrc/api/include')],
    libDir,
    why,
  };
}

/** The floor: what Debian 12 has. @param {Libtorch} libtorch */
export function isSupported(libtorch) {
  const [major = 0, minor = 0] = libtorch.version.split('.').map(Number);
  return major > 1 || (major === 1 && minor >= 13);
}
