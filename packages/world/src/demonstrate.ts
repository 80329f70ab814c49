import { SFC32_SEEDS, Sfc32 } from '@craft-ft/datasets/random';
import { CraftError } from '@craft-ft/torch/errors';
import type { Environment } from './environment.js';

export interface DemonstrationOptions {
  /** Seed of the first attempt. */
  seed: number;
  /** Attempts, each with another seed, until one succeeds. Default 10. */
  attempts?: number;
  /**
   * Unsteadiness of the arm: standard deviation, in the units of the actions (degrees), of a slowly varying error between what is executed
   * and what is recorded. The data then contains states off the expert's path, and the way back. Default 0.
   */
  noise?: number;
}

/** An expert's successful episode: every observation and the action that followed it. */
export interface Demonstration {
  /** Seed that succeeded. */
  seed: number;
  /** Number of attempts it took. */
  attempts: number;
  length: number;
  instruction: string;
  /** By key, all frames one after the other: float32 [length, ...] or uint8 [length, height, width, 3]. */
  observations: Record<string, Float32Array | Uint8Array>;
  /** [length, a] */
  actions: Float32Array;
}

const NOISE_STREAM = 2;
/** Distance between the seeds of an episode's attempts: far from other episodes' seeds. */
const NEXT_ATTEMPT = 1_000_003;
/** Fraction of the error that carries over to the next step. */
const PERSISTENCE = 0.9;

/**
 * Lets the expert do the environment's task; failed attempts are discarded and repeated from another start.
 *
 * @throws CraftError `EXPERT_MISSING` if the environment has no expert, `EXPERT_FAILED` if no attempt succeeds
 */
export function demonstrate(environment: Environment, options: DemonstrationOptions): Demonstration {
  const { attempts = 10, noise = 0 } = options;
  for (let attempt = 0; attempt < attempts; attempt++) {
    const seed = (options.seed + attempt * NEXT_ATTEMPT) % SFC32_SEEDS;
    const episode = attemptOnce(environment, seed, noise);
    if (episode === null) continue;
    const { instruction } = environment;
    return { seed, attempts: attempt + 1, length: episode.actions.length, instruction, ...stacked(episode) };
  }
  throw new CraftError(
    'EXPERT_FAILED',
    `the expert failed "${environment.task}" ${attempts} times in a row from seed ${options.seed}; try less noise or other seeds`,
  );
}

interface Episode {
  observations: Record<string, (Float32Array | Uint8Array)[]>;
  actions: Float32Array[];
}

function attemptOnce(environment: Environment, seed: number, noise: number): Episode | null {
  let { observation } = environment.reset(seed);
  const expert = environment.expert({ seed });
  if (expert === null) {
    throw new CraftError('EXPERT_MISSING', `"${environment.task}" has no scripted expert; nothing to record`);
  }
  const random = new Sfc32(seed, NOISE_STREAM);
  const [width = 0] = environment.actionFeature.shape;
  const error = new Float32Array(width);
  const episode: Episode = { observations: {}, actions: [] };
  for (;;) {
    const action = expert.act();
    for (const [key, value] of Object.entries(observation)) {
      episode.observations[key] ??= [];
      episode.observations[key].push(value);
    }
    episode.actions.push(action);
    const scale = noise * Math.sqrt(1 - PERSISTENCE ** 2);
    const done = action.map((value, i) => {
      error[i] = PERSISTENCE * error[i]! + scale * random.normal();
      return value + error[i]!;
    });
    const step = environment.step(done);
    if (step.terminated) return episode;
    if (step.truncated) return null;
    observation = step.observation;
  }
}

function stacked(episode: Episode): Pick<Demonstration, 'observations' | 'actions'> {
  const observations = Object.entries(episode.observations).map(
    ([key, frames]) => [key, joined(frames)] as const,
  );
  return { observations: Object.fromEntries(observations), actions: joined(episode.actions) as Float32Array };
}

function joined(frames: readonly (Float32Array | Uint8Array)[]): Float32Array | Uint8Array {
  const width = frames[0]!.length;
  const size = width * frames.length;
  const out = frames[0] instanceof Uint8Array ? new Uint8Array(size) : new Float32Array(size);
  frames.forEach((frame, i) => {
    out.set(frame, i * width);
  });
  return out;
}
