/**
 * @packageDocumentation
 * The seeded generator on its own, for whoever needs nothing else of this package.
 */
export { shuffle, Xoshiro128 } from './dataset/random.js';
