import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CraftError } from '@craft-ft/torch/errors';

/** Files that the page may ask for, by their path in its address. Nothing else of the disk can be had. */
export type Assets = ReadonlyMap<string, string>;

/** What the page's modules import by name, and where that is served. */
export const IMPORT_MAP: Readonly<Record<string, string>> = {
  three: '/modules/three/three.module.js',
  'three/addons/controls/OrbitControls.js': '/modules/three/OrbitControls.js',
  '@mujoco/mujoco': '/modules/mujoco/mujoco.js',
  '@craft-ft/torch/errors': '/modules/torch/errors.js',
};

/** The page's entry. */
export const ENTRY = '/world/view/page/main.js';

/** This package's compiled modules, three.js and MuJoCo. @throws CraftError `VIEW_PAGE` where they are not compiled */
export function pageAssets(): Assets {
  const require = createRequire(import.meta.url);
  // The same from the sources as from the compiled files.
  const dist = fileURLToPath(new URL('../../dist/', import.meta.url));
  const three = dirname(require.resolve('three'));
  const mujoco = dirname(require.resolve('@mujoco/mujoco'));
  const assets = new Map([
    ['/modules/three/three.module.js', join(three, 'three.module.js')],
    ['/modules/three/three.core.js', join(three, 'three.core.js')],
    ['/modules/three/OrbitControls.js', join(three, '../examples/jsm/controls/OrbitControls.js')],
    ['/modules/mujoco/mujoco.js', join(mujoco, 'mujoco.js')],
    ['/modules/mujoco/mujoco.wasm', join(mujoco, 'mujoco.wasm')],
    ['/modules/torch/errors.js', require.resolve('@craft-ft/torch/errors')],
    ...modules(dist),
  ]);
  if (!assets.has(ENTRY)) {
    throw new CraftError(
      'VIEW_PAGE',
      `${join(dist, 'view/page')}: the page is not compiled; run npm run build`,
    );
  }
  return assets;
}

function modules(dist: string): [string, string][] {
  if (!existsSync(dist)) return [];
  return readdirSync(dist, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.js'))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => [`/world/${relative(dist, file).split(sep).join('/')}`, file]);
}
