const MASK = (1n << 64n) - 1n;

/** One output of SplitMix64 (Steele, Lea, Flood 2014) for a 64-bit state. */
function splitmix64(state: bigint): bigint {
  let z = (state + 0x9e3779b97f4a7c15n) & MASK;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK;
  return z ^ (z >> 31n);
}

/** Seeded random numbers, the same on every platform. Subclasses implement `next`. */
export abstract class RandomGenerator {
  /** A whole number in [0, 2³²). */
  abstract next(): number;

  /** A whole number in [0, bound), without bias: outputs above the largest multiple of `bound` are drawn again. */
  below(bound: number): number {
    const limit = 2 ** 32 - (2 ** 32 % bound);
    let value = this.next();
    while (value >= limit) value = this.next();
    return value % bound;
  }

  /** Uniform in [low, high), in steps of 2⁻³² of that range. Default [0, 1). */
  uniform(low = 0, high = 1): number {
    return low + (high - low) * (this.next() / 2 ** 32);
  }

  /** True with probability 1/2. */
  coin(): boolean {
    return this.next() < 2 ** 31;
  }

  /** Standard normal (Box and Muller). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }
}

/**
 * Xoshiro128** (Blackman, Vigna 2018): 32-bit outputs from a 128-bit state, the same on every platform.
 *
 * The state is two SplitMix64 outputs of the key `splitmix64(splitmix64(seed) xor stream)`, so neighbouring seeds and
 * neighbouring streams (epochs) are unrelated.
 */
export class Xoshiro128 extends RandomGenerator {
  readonly #state = new Uint32Array(4);

  constructor(seed: number, stream: number) {
    super();
    const key = splitmix64(splitmix64(BigInt(seed) & MASK) ^ BigInt(stream));
    const first = splitmix64(key);
    const second = splitmix64(first);
    const words = [first & 0xffffffffn, first >> 32n, second & 0xffffffffn, second >> 32n];
    this.#state.set(words.map(Number));
    if (this.#state.every((word) => word === 0)) this.#state[0] = 1;
  }

  next(): number {
    const s = this.#state;
    const product = Math.imul(s[1]!, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= shifted;
    s[3] = (s[3]! << 11) | (s[3]! >>> 21);
    return result;
  }
}

/** Number of different seeds of {@link Sfc32}, which start at 0. */
export const SFC32_SEEDS = 2 ** 32;

/**
 * sfc32 (Doty-Humphrey, PractRand), seeded by a 32-bit splitmix: the generator of the simulated worlds. It is not
 * {@link Xoshiro128} because their documented initial states and success rates were produced with it.
 */
export class Sfc32 extends RandomGenerator {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /**
   * @param seed whole number; only its lowest 32 bits count
   * @param stream distinguishes several generators of one seed. Default 0
   */
  constructor(seed: number, stream = 0) {
    super();
    let state = (seed ^ Math.imul(stream + 1, 0x9e3779b1)) | 0;
    const word = (): number => {
      state = (state + 0x9e3779b9) | 0;
      let mixed = state ^ (state >>> 16);
      mixed = Math.imul(mixed, 0x21f0aaad);
      mixed ^= mixed >>> 15;
      mixed = Math.imul(mixed, 0x735a2d97);
      return mixed ^ (mixed >>> 15);
    };
    this.#a = word();
    this.#b = word();
    this.#c = word();
    for (let i = 0; i < 12; i++) this.next();
  }

  next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return sum >>> 0;
  }
}

/** Shuffles in place by Fisher–Yates from the last element down. */
export function shuffle(values: Uint32Array, random: RandomGenerator): void {
  for (let i = values.length - 1; i > 0; i--) {
    const j = random.below(i + 1);
    const kept = values[i]!;
    values[i] = values[j]!;
    values[j] = kept;
  }
}
