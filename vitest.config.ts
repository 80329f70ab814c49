import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { defineConfig, type Plugin } from 'vitest/config';

// Packages find each other's sources: what a test imports needs no build.
const alias = ['torch', 'datasets', 'policies', 'training', 'craft', 'python-caches', 'world', 'cli'].flatMap(
  (name) => {
    const source = fileURLToPath(new URL(`packages/${name}/src`, import.meta.url));
    return [
      { find: new RegExp(`^@craft-ft/${name}$`), replacement: `${source}/index.ts` },
      { find: new RegExp(`^@craft-ft/${name}/(.+)$`), replacement: `${source}/$1.ts` },
    ];
  },
);

/** A worker thread cannot load a source: it gets the compiled file, which the global set-up has just built. */
const builtWorkers: Plugin = {
  name: 'built-workers',
  transform(code, id) {
    const [, dir] = /^(.*\/packages\/[^/]+\/)src\/.*\.ts$/.exec(id) ?? [];
    if (dir === undefined) return null;
    const dist = dirname(id).replace(`${dir}src`, `${dir}dist`);
    return code.replace(
      /new URL\((['"])(\.[^'"]*-worker\.js)\1, import\.meta\.url\)/g,
      (_, _quote, path: string) => `new URL(${JSON.stringify(pathToFileURL(join(dist, path)).href)})`,
    );
  },
};

export default defineConfig({
  plugins: [builtWorkers],
  resolve: { alias },
  test: {
    include: ['packages/*/src/**/*.test.ts', 'packages/*/test/**/*.test.ts'],
    globalSetup: 'scripts/vitest-setup.mjs',
    pool: 'forks',
    testTimeout: 60_000,
    // Several files run at once, each tiny: more threads in each would only get in each other's way.
    // MKL's sums come in the same order on every processor: recorded training runs have steps where one rounding decides.
    env: { OMP_NUM_THREADS: '1', MKL_CBWR: 'COMPATIBLE' },
  },
});
