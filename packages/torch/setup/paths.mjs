import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const packageDir = fileURLToPath(new URL('../', import.meta.url));
export const nativeDir = join(packageDir, 'native');

/** The repository that this package lies in; null where it was installed from npm. */
export const repository = existsSync(join(packageDir, '../../scripts/setup.mjs'))
  ? join(packageDir, '../../')
  : null;

/** Where pip puts a torch of our own. */
export const localTorch = join(repository ?? packageDir, '.libtorch');

/** @param {string} [name] of a second build beside the usual one @returns {string} where the addon goes */
export const buildDir = (name) => join(packageDir, name ? `build-${name}` : 'build');

/** @param {string} path @returns {any} the parsed file, or null when it is absent or broken */
export function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return null;
  }
}

/** @param {...string} parts */
export const hash = (...parts) => createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 16);

/**
 * Names, sizes and modification times of all files under the given ones: cheap enough to take at every start.
 * @param {string[]} paths files or folders; absent ones count as empty
 * @param {(name: string) => boolean} wanted
 */
export function digestTree(paths, wanted = () => true) {
  /** @type {string[]} */
  const lines = [];
  /** @param {string} path */
  const visit = (path) => {
    const stat = statSync(path);
    if (stat.isDirectory()) for (const name of readdirSync(path).sort()) visit(join(path, name));
    else if (wanted(path)) lines.push(`${path} ${stat.size} ${stat.mtimeMs}`);
  };
  for (const path of paths) if (existsSync(path)) visit(path);
  return hash(...lines);
}
