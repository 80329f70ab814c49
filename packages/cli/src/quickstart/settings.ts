/** How large the quickstart is. */
export interface QuickstartSettings {
  /** Demonstrations of each task. */
  episodes: number;
  /** Flags that choose the few anchors: what may be seen of the old task while the new one is learned. */
  anchors: readonly string[];
  batchSize: number;
  trainSteps: number;
  fineTuneSteps: number;
  /** Episodes of each task in an evaluation during training, and the steps between two of them. */
  trials: number;
  trainEvalFreq: number;
  fineTuneEvalFreq: number;
  /** Episodes of each task in the table. */
  rollouts: number;
  /** Height and width of the videos. */
  videoSize: readonly [number, number];
  /** Flags of the policy. */
  policy: readonly string[];
}

/** A state-based policy that learns a task to (nearly) 100 % in less than a minute on two cores. */
export const QUICKSTART: QuickstartSettings = {
  episodes: 200,
  anchors: ['--craft.anchor_num_frames=800'],
  batchSize: 64,
  trainSteps: 1000,
  fineTuneSteps: 400,
  trials: 20,
  trainEvalFreq: 500,
  fineTuneEvalFreq: 100,
  rollouts: 50,
  videoSize: [144, 192],
  policy: [
    '--policy.chunk_size=10',
    '--policy.n_action_steps=3',
    '--policy.dim_model=128',
    '--policy.n_heads=4',
    '--policy.dim_feedforward=256',
    '--policy.n_encoder_layers=3',
  ],
};

export const OLD_TASK = 'place-in-red-bin';
export const NEW_TASK = 'place-in-blue-bin';
export const TASKS = [OLD_TASK, NEW_TASK] as const;

/** Seeds of episodes: no start is both learned from and tested on. Evaluation during training takes the training's own seed. */
const RECORDED = 1_000_000;
const TESTED = 500_000;
const PER_SEED = 2_000;

/** Seed of the first demonstration. */
export function recordedSeed(seed: number, task: (typeof TASKS)[number]): number {
  return RECORDED + 2 * PER_SEED * seed + (task === NEW_TASK ? PER_SEED : 0);
}

/** Seed of the first test. */
export function testedSeed(seed: number): number {
  return TESTED + PER_SEED * (seed % 200);
}
