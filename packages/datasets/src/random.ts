/**
 * @packageDocumentation
 * The seeded generators on their own, for whoever needs nothing else of this package.
 */
export { RandomGenerator, SFC32_SEEDS, Sfc32, shuffle, Xoshiro128 } from './dataset/random.js';
