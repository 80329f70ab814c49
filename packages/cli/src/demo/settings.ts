export const DEMO_POLICIES = ['act-state', 'act-vision', 'pi0-fast'] as const;
export type DemoPolicy = (typeof DEMO_POLICIES)[number];

/** Content and size of a demo. */
export interface DemoSettings {
  /** Prefix of the datasets' names: `<name>/red`. */
  name: string;
  /** Number of demonstrations of the old and of the new task. */
  episodes: Readonly<Record<DemoColor, number>>;
  /** Flags of the recording: which observations it has. */
  recording: readonly string[];
  /** Flags of `craft tokenizer train`, for a policy that outputs actions as tokens. */
  tokenizer?: readonly string[];
  /** Flags that select the few anchors: all that is seen of the old task while the new one is learned. */
  anchors: readonly string[];
  anchorBatchSize: number;
  /** Flags of the constraint, and what they mean. */
  constraint: readonly string[];
  bound: string;
  batchSize: number;
  trainSteps: number;
  fineTuneSteps: number;
  /** Episodes per task in an evaluation during training, and the number of steps between evaluations. */
  trials: number;
  trainEvalFreq: number;
  fineTuneEvalFreq: number;
  /** Episodes per task for the table. */
  rollouts: number;
  /** Height and width of the videos. */
  videoSize: readonly [number, number];
  /** Flags of the policy. */
  policy: readonly string[];
  /** Flags of all training runs, of the run on the old task, and of fine-tuning. */
  training: { always: readonly string[]; old: readonly string[]; fineTuning: readonly string[] };
}

const ACT = [
  '--policy.type=act',
  '--policy.task_embedding_dim=32',
  '--policy.use_vae=false',
  '--policy.dropout=0',
  '--policy.normalization_mapping={"VISUAL":"MEAN_STD","STATE":"MEAN_STD","ACTION":"MEAN_STD","ENV":"MEAN_STD"}',
  '--policy.chunk_size=10',
  '--policy.n_action_steps=3',
  '--policy.dim_model=128',
  '--policy.n_heads=4',
  '--policy.dim_feedforward=256',
  '--policy.n_encoder_layers=3',
];

/** A state-based policy that learns a task to (nearly) 100 % in less than a minute on two cores. */
const ACT_STATE: DemoSettings = {
  name: 'quickstart',
  episodes: { red: 200, blue: 200 },
  recording: [],
  anchors: ['--craft.anchor_num_frames=800'],
  anchorBatchSize: 32,
  constraint: ['--craft.retention_mode=action', '--craft.epsilon_start=0.05', '--craft.lambda_lr=1'],
  bound: 'on the same anchors, its actions may not leave those it starts with',
  batchSize: 64,
  trainSteps: 1000,
  fineTuneSteps: 400,
  trials: 20,
  trainEvalFreq: 500,
  fineTuneEvalFreq: 100,
  rollouts: 50,
  videoSize: [144, 192],
  policy: ACT,
  training: {
    always: ['--scheduler.type=linear'],
    old: ['--optimizer.lr=1e-3', '--scheduler.num_warmup_steps=50'],
    fineTuning: ['--optimizer.lr=5e-4'],
  },
};

/** The same policy with a camera above the table and one on the hand; a small ResNet, trained from scratch, encodes their images. */
const ACT_VISION: DemoSettings = {
  ...ACT_STATE,
  name: 'act-vision',
  recording: ['--cameras=top,wrist', '--environment_state=false'],
  anchors: ['--craft.anchor_num_frames=2000'],
  anchorBatchSize: 16,
  // A tighter bound than for numbers, because images are easily memorised. λ is limited so that it does not starve the new task.
  constraint: [
    '--craft.retention_mode=action',
    '--craft.epsilon_start=0.02',
    '--craft.initial_lambda=1',
    '--craft.lambda_lr=0.5',
    '--craft.lambda_max=2',
  ],
  batchSize: 32,
  trainSteps: 2500,
  fineTuneSteps: 1200,
  trainEvalFreq: 1250,
  fineTuneEvalFreq: 300,
  policy: [...ACT, '--policy.vision_backbone=resnet18_quarter', '--policy.pretrained_backbone_weights=null'],
  training: {
    always: ['--scheduler.type=linear', '--dataset.frame_cache=memory'],
    old: ['--optimizer.lr=5e-4', '--policy.optimizer_lr_backbone=5e-4', '--scheduler.num_warmup_steps=50'],
    fineTuning: ['--optimizer.lr=3e-4', '--policy.optimizer_lr_backbone=3e-4'],
  },
};

/** The smallest vision-language-action model, with random initial weights: instruction and joints as text, actions as FAST tokens. */
const PI0_FAST: DemoSettings = {
  ...ACT_VISION,
  name: 'pi0-fast',
  // Starting from random weights, it begins to memorise 200 demonstrations.
  episodes: { red: 400, blue: 200 },
  tokenizer: [
    '--action_horizon=10',
    '--sample_fraction=0.3',
    '--vocab_size=512',
    '--clip=false',
    '--use_delta_transform=true',
    '--delta_dims=0,1,2,3,4',
  ],
  anchorBatchSize: 8,
  // Anchors are memorised: a loss as low as their initial one says little about other frames. λ is limited so that it does not starve the
  // new task.
  constraint: [
    '--craft.retention_mode=loss',
    '--craft.epsilon_mode=relative',
    '--craft.epsilon_start=0.6',
    '--craft.epsilon_end=0.6',
    '--craft.initial_lambda=1',
    '--craft.lambda_lr=0.5',
    '--craft.lambda_max=2',
  ],
  bound: 'its loss on the same anchors is to be at most 60 % of what it starts with',
  batchSize: 8,
  trainSteps: 8000,
  fineTuneSteps: 1200,
  trials: 10,
  trainEvalFreq: 4000,
  fineTuneEvalFreq: 600,
  policy: [
    '--policy.type=pi0_fast',
    '--policy.paligemma_variant=gemma_tiny',
    '--policy.text_tokenizer_name=builtin:bytes',
    '--policy.chunk_size=10',
    '--policy.n_action_steps=5',
    // Predicting a step of a few degrees from images is easier than reading the arm's position from text.
    '--policy.use_relative_actions=true',
    '--policy.image_resolution=[84,84]',
    '--policy.max_state_dim=6',
    '--policy.tokenizer_max_length=80',
    '--policy.max_action_tokens=40',
    '--policy.max_decoding_steps=40',
  ],
  training: {
    always: ['--dataset.frame_cache=memory'],
    old: cosine(1.2e-3, 200, 8000),
    fineTuning: cosine(1e-3, 50, 1200),
  },
};

/** A cosine schedule that decays to a hundredth. */
function cosine(lr: number, warmup: number, steps: number): string[] {
  return [
    `--optimizer.lr=${lr}`,
    `--scheduler.peak_lr=${lr}`,
    `--scheduler.decay_lr=${(lr / 100).toExponential(0)}`,
    `--scheduler.num_warmup_steps=${warmup}`,
    `--scheduler.num_decay_steps=${steps}`,
  ];
}

export const DEMOS: Readonly<Record<DemoPolicy, DemoSettings>> = {
  'act-state': ACT_STATE,
  'act-vision': ACT_VISION,
  'pi0-fast': PI0_FAST,
};

export const OLD_TASK = 'place-in-red-bin';
export const NEW_TASK = 'place-in-blue-bin';
export const TASKS = [OLD_TASK, NEW_TASK] as const;
export type DemoTask = (typeof TASKS)[number];

/** The bin's colour, which names a task's data and results. */
type DemoColor = 'red' | 'blue';
export const colorOf = (task: DemoTask): DemoColor => (task === OLD_TASK ? 'red' : 'blue');

/** Seeds of episodes: no start is used for both training and testing. Evaluation during training uses the training run's own seed. */
const RECORDED = 1_000_000;
const TESTED = 500_000;
const PER_SEED = 2_000;

/** Seed of the first demonstration. Start seeds have 32 bits; this leaves room for the episodes that follow. */
export function recordedSeed(seed: number, task: DemoTask): number {
  return (RECORDED + 2 * PER_SEED * seed + (task === NEW_TASK ? PER_SEED : 0)) % 2 ** 31;
}

/** Seed of the first test episode. */
export function testedSeed(seed: number): number {
  return TESTED + PER_SEED * (seed % 200);
}
