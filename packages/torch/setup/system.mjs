// What the operating system provides, and how to add to it.
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { probe, run, SetupError, step, which } from './ui.mjs';

/** Debian, Ubuntu and their derivatives. */
export const isDebian =
  process.platform === 'linux' &&
  existsSync('/etc/os-release') &&
  /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(readFileSync('/etc/os-release', 'utf8')) &&
  which('apt-get') !== null;

export const hasNvidiaGpu = () =>
  existsSync('/proc/driver/nvidia/version') || Boolean(which('nvidia-smi') && probe('nvidia-smi', ['-L']));

/** @param {string[]} packages */
const aptCommand = (packages) => ['apt-get', 'install', '-y', '--no-install-recommends', ...packages];

/** The words that run a command as root without asking for a password; null when there are none. */
function rootPrefix() {
  if (process.getuid?.() === 0) return [];
  return which('sudo') && probe('sudo', ['-n', 'true']) !== null ? ['sudo', '-n'] : null;
}

/**
 * Installs Debian packages, or says with which command the reader can.
 * @param {string[]} packages
 * @param {string} purpose what they are for
 */
export async function aptInstall(packages, purpose) {
  const prefix = rootPrefix();
  if (!prefix) {
    throw new SetupError(`Missing: ${purpose}. Run: sudo ${aptCommand(packages).join(' ')}`);
  }
  const apt = (/** @type {string[]} */ words) => {
    const settings = ['DEBIAN_FRONTEND=noninteractive'];
    const [command, ...args] = [...prefix, 'env', ...settings, ...words];
    return run(/** @type {string} */ (command), args);
  };
  const wait = ['-o', 'DPkg::Lock::Timeout=300'];
  await step(`Installing ${packages.join(' ')} with apt (${purpose})`, async () => {
    // A mirror that cannot be reached is no reason to give up: the lists at hand may do.
    await apt(['apt-get', 'update', '-q', ...wait]).catch(() => {});
    await apt([...aptCommand(packages), '-q', ...wait]);
  });
}

/** Finds a C++17 compiler: CXX, or g++, or clang++. @returns {Promise<string>} */
export async function ensureCompiler() {
  const find = () => [process.env.CXX, 'g++', 'clang++', 'c++'].find((name) => name && which(name));
  if (process.env.CXX && !which(process.env.CXX))
    throw new SetupError(`CXX=${process.env.CXX} is not a program.`);
  if (!find() && isDebian) await aptInstall(['g++'], 'a C++ compiler');
  const compiler = find();
  if (compiler) return compiler;
  const command = process.platform === 'darwin' ? 'xcode-select --install' : 'sudo dnf install gcc-c++';
  throw new SetupError(`No C++ compiler found (CXX, g++, clang++). Install one, for example: ${command}`);
}

/**
 * Debian's libtorch calls whichever BLAS the alternatives system points to. The reference BLAS, the default, is
 * some fifty times slower than OpenBLAS.
 */
export function blasIsSlow() {
  const arch = { x64: 'x86_64', arm64: 'aarch64' }[/** @type {'x64'} */ (process.arch)];
  const link = `/etc/alternatives/libblas.so.3-${arch}-linux-gnu`;
  return existsSync(link) && !/openblas|mkl|blis|atlas/.test(realpathSync(link));
}

/** @throws SetupError where nothing here can run */
export function checkPlatform() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    throw new SetupError(`Node ${process.versions.node} is too old: 20.19 or later is needed.`);
  }
  if (process.platform === 'win32') throw new SetupError('Windows has no build of its own; use WSL 2.');
}
