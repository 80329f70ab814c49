import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { PlainObject } from '../../../datasets/src/json.js';
import { ConfigError, formatProblem } from '../../../policies/src/config/check.js';
import { resolveTrainConfig, trainConfigSpec } from './resolve.js';

const minimal = { dataset: { repo_id: 'me/data' }, policy: { type: 'act' } };
const resolve = (plain: PlainObject) =>
  resolveTrainConfig(plain, trainConfigSpec, new Date(2025, 0, 31, 9, 5, 7));

function problemsOf(plain: PlainObject): string[] {
  try {
    resolve(plain);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(formatProblem);
    throw error;
  }
  return [];
}

test("defaults are LeRobot's, computed ones included", () => {
  const { config, ignored } = resolve(minimal);
  expect(ignored).toEqual([]);
  expect(config).toMatchObject({
    output_dir: join('outputs', 'train', '2025-01-31', '09-05-07_act'),
    job_name: 'act',
    resume: false,
    seed: 1000,
    num_workers: 4,
    batch_size: 8,
    steps: 100_000,
    log_freq: 200,
    save_freq: 20_000,
    save_checkpoint: true,
    tolerance_s: 1e-4,
    rename_map: {},
    dataset: { root: null, episodes: null, use_imagenet_stats: true },
    optimizer: {
      type: 'adamw',
      lr: 1e-5,
      weight_decay: 1e-4,
      grad_clip_norm: 10,
      betas: [0.9, 0.999],
      eps: 1e-8,
    },
    scheduler: null,
  });
});

test('resolving the effective configuration again changes nothing', () => {
  const { config } = resolve({ ...minimal, optimizer: { lr: 3e-4 }, scheduler: { type: 'linear' } });
  expect(resolve(JSON.parse(JSON.stringify(config)) as PlainObject).config).toEqual(config);
});

test('given optimiser fields win over the preset, which keeps the rest', () => {
  const { config } = resolve({ ...minimal, optimizer: { lr: 3e-4 } });
  expect(config.optimizer).toMatchObject({ lr: 3e-4, weight_decay: 1e-4 });
  const own = resolve({ ...minimal, use_policy_training_preset: false, optimizer: { type: 'adamw' } }).config;
  expect(own.optimizer).toMatchObject({ lr: 1e-3, weight_decay: 1e-2 });
  expect(problemsOf({ ...minimal, use_policy_training_preset: false })).toEqual([
    'optimizer: missing, use_policy_training_preset=false needs --optimizer.type=adamw and its fields',
  ]);
});

test('all problems are reported at once, each with field, found value and what is allowed', () => {
  const problems = problemsOf({
    dataset: { repo_id: 'a', episodes: [1, 1], epsiodes: [2] },
    policy: { type: 'act', chunk_size: 5, n_obs_steps: 2, dropout: 'much', n_head: 4 },
    batch_size: 0,
    wandb: { enable: true },
    rename_map: { a: 'x', b: 'x' },
  });
  expect(problems).toEqual([
    expect.stringMatching(/^wandb\.enable=true: .*not available yet.*expected false or null/),
    'dataset.epsiodes=[2]: no such field; did you mean dataset.episodes?',
    'policy.dropout=much: expected number in [0, 1)',
    'policy.n_head=4: no such field; did you mean policy.n_heads?',
    'batch_size=0: expected integer ≥ 1',
    'dataset.episodes=[1,1]: expected every episode at most once',
    'policy.n_obs_steps=2: expected 1: ACT sees the current observation only',
    'policy.n_action_steps=100: expected at most policy.chunk_size (5)',
    'rename_map={"a":"x","b":"x"}: two keys become x; expected distinct policy keys',
  ]);
});

test('a rule that depends on a wrong field stays silent', () => {
  expect(problemsOf({ ...minimal, policy: { type: 'act', chunk_size: 'x', n_action_steps: 200 } })).toEqual([
    'policy.chunk_size=x: expected integer ≥ 1',
  ]);
});

test('what is missing is named', () => {
  expect(problemsOf({})).toEqual([
    'dataset.repo_id: missing, expected text',
    'policy.type: missing, expected act|pi0_fast, or --policy.path with the folder of a trained policy',
  ]);
});

test('schedules are checked', () => {
  const cosine = { type: 'cosine_decay_with_warmup', num_warmup_steps: 50, num_decay_steps: 10, decay_lr: 1 };
  expect(problemsOf({ ...minimal, scheduler: cosine })).toEqual([
    'scheduler.num_warmup_steps=50: expected at most scheduler.num_decay_steps (10)',
    'scheduler.decay_lr=1: expected at most scheduler.peak_lr (0.000025)',
  ]);
  expect(problemsOf({ ...minimal, scheduler: { type: 'step' } })).toEqual([
    'scheduler.type=step: expected constant|linear|cosine_decay_with_warmup',
  ]);
});

test("LeRobot's own train_config.json is read; what cannot matter is reported, what can is refused", () => {
  const lerobot = {
    ...minimal,
    dataset: {
      repo_id: 'me/data',
      revision: null,
      streaming: false,
      eval_split: 0.0,
      video_backend: 'torchcodec',
      image_transforms: { enable: false, max_num_transforms: 3 },
    },
    env: null,
    reward_model: null,
    cudnn_deterministic: false,
    prefetch_factor: 4,
    env_eval_freq: 20_000,
    eval: { n_episodes: 50 },
    wandb: { enable: false, project: 'lerobot' },
    peft: null,
    sample_weighting: null,
    checkpoint_path: null,
    parallelism: { dp_replicate: 1, dp_shard: 1 },
  };
  const { config, ignored } = resolve(lerobot);
  expect(config).toEqual(resolve(minimal).config);
  expect(ignored).toContain("prefetch_factor=4 (it tunes the workers of Python's loader)");
  expect(ignored.some((line) => line.startsWith('wandb.enable'))).toBe(false);
  expect(problemsOf({ ...lerobot, env: { type: 'libero' }, peft: { r: 16 } })).toHaveLength(2);
  expect(problemsOf({ ...minimal, policy: { type: 'act', push_to_hub: true } })[0]).toMatch(
    /^policy.push_to_hub=true: /,
  );
});

test('a key named __proto__ is refused like any other unknown key', () => {
  const plain = JSON.parse(
    '{"__proto__": {"steps": 1}, "dataset": {"repo_id": "a"}, "policy": {"type": "act"}}',
  );
  expect(problemsOf(plain as PlainObject)).toHaveLength(1);
});
