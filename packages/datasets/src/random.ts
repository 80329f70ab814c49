/**
 * @packageDocumentation
 * The seeded generators alone, for code that needs nothing else from this package.
 */
export { RandomGenerator, SFC32_SEEDS, Sfc32, shuffle, Xoshiro128 } from './dataset/random.js';
