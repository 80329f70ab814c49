import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// Packages find each other's sources, so that tests need no build of the TypeScript.
const alias = ['torch', 'datasets', 'policies', 'training', 'craft', 'world', 'cli'].flatMap((name) => {
  const source = fileURLToPath(new URL(`packages/${name}/src`, import.meta.url));
  return [
    { find: new RegExp(`^@craft-ft/${name}$`), replacement: `${source}/index.ts` },
    { find: new RegExp(`^@craft-ft/${name}/(.+)$`), replacement: `${source}/$1.ts` },
  ];
});

export default defineConfig({
  resolve: { alias },
  test: {
    include: ['packages/*/src/**/*.test.ts', 'packages/*/test/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 60_000,
    // Several files run at once, each tiny: more threads in each would only get in each other's way.
    // MKL's sums come in the same order on every processor: recorded training runs have steps where one rounding decides.
    env: { OMP_NUM_THREADS: '1', MKL_CBWR: 'COMPATIBLE' },
  },
});
