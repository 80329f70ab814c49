import { createHash } from 'node:crypto';
import { GroupSampler } from './group-sampler.js';
import type { MultiDataset } from './mixture.js';
import { EpisodeAwareSampler } from './samplers.js';

export { apportion } from './group-sampler.js';

/** Options of {@link MixtureSampler}. */
export interface MixtureSamplerOptions {
  /** Any whole number. */
  seed: number;
  /** Frames left out at each episode's end. Default 0. */
  drop_n_last_frames?: number;
}

/**
 * The order in which a mixture's frames are drawn, a pure function of (seed, members): a run resumes from its step number alone,
 * and the order in which members are given changes nothing. Shares are the members' weights; see {@link GroupSampler}.
 */
export class MixtureSampler extends GroupSampler {
  constructor(mixture: MultiDataset, { seed, drop_n_last_frames }: MixtureSamplerOptions) {
    const rows = Uint32Array.from({ length: mixture.length }, (_, row) => row);
    const groups = mixture.members.map((member, i) => {
      const own = new EpisodeAwareSampler(member, { seed, drop_n_last_frames }).epochOrder(0);
      return {
        rows: own.map((row) => mixture.starts[i]! + row),
        share: mixture.weights[i]!,
        seed: memberSeed(seed, mixture.names[i]!),
      };
    });
    super(rows, groups, seed);
  }
}

/** A seed of its own for every member, whatever the other members are. */
export function memberSeed(seed: number, name: string): number {
  return createHash('sha256').update(`${seed}/${name}`).digest().readUIntBE(0, 6);
}
