import { listFields, removeNotYet } from '@craft-ft/lerobot';
import { expect, test } from 'vitest';
import { CRAFT_FLAGS_NOT_YET, craftConfigSchema, validateCraft } from './config.js';

const problems = (fields: object) => validateCraft(craftConfigSchema.parse(fields)).map(({ field }) => field);

test('defaults are those of the original project, but for the retention mode', () => {
  expect(craftConfigSchema.parse({})).toEqual({
    enabled: false,
    anchor_dataset_path: '',
    anchor_dataset_root: null,
    anchor_episodes: null,
    anchor_batch_size: 16,
    anchor_seed: null,
    retention_freq: 5,
    retention_mode: 'loss',
    retention_scale: 'event',
    initial_lambda: 1,
    lambda_lr: 0.01,
    lambda_max: 10,
    epsilon_start: 1,
    epsilon_end: 0.1,
    epsilon_decay_steps: 0,
    epsilon_schedule: 'linear',
    epsilon_mode: 'absolute',
    use_grad_projection: true,
    conflict_threshold: -0.1,
    conflict_metric: 'cosine',
    projection_mode: 'weighted',
    log_craft_metrics_freq: 100,
    save_lambda_history: true,
  });
});

test('rules between fields', () => {
  expect(problems({})).toEqual([]);
  expect(problems({ enabled: true })).toEqual(['craft.anchor_dataset_path']);
  expect(problems({ enabled: true, anchor_dataset_path: 'old' })).toEqual([]);
  expect(problems({ epsilon_start: 0.05 })).toEqual(['craft.epsilon_start']);
  expect(problems({ epsilon_start: 0.05, epsilon_schedule: 'constant' })).toEqual([]);
  expect(problems({ initial_lambda: 11 })).toEqual(['craft.initial_lambda']);
  expect(problems({ enabled: true, initial_lambda: 11, epsilon_start: 0 })).toHaveLength(3);
});

test.each([
  { retention_freq: 0 },
  { initial_lambda: -1 },
  { lambda_max: 0 },
  { lambda_lr: -0.1 },
  { epsilon_end: -1 },
  { anchor_batch_size: 0 },
  { conflict_threshold: Number.NaN },
  { projection_mode: 'sum' },
  { epsilon_schedule: 'step' },
  { conflict_metric: 'angle' },
  { retention_mode: 'logits' },
  { anchor_cache: 'x' },
])('%j is refused', (fields) => {
  expect(craftConfigSchema.safeParse(fields).success).toBe(false);
});

test('a threshold of 0 or above is allowed', () => {
  expect(problems({ conflict_threshold: 0 })).toEqual([]);
  expect(problems({ conflict_threshold: 1.5 })).toEqual([]);
});

test('what is not available yet is refused by name, never ignored', () => {
  const craft = { retention_mode: 'hidden', anchor_cache_dir: 'cache' };
  const refused = removeNotYet({ craft }, CRAFT_FLAGS_NOT_YET).problems;
  expect(refused.map(({ field }) => field)).toEqual(['craft.retention_mode', 'craft.anchor_cache_dir']);
  expect(removeNotYet({ craft: { retention_mode: 'loss' } }, CRAFT_FLAGS_NOT_YET)).toEqual({
    plain: { craft: { retention_mode: 'loss' } },
    ignored: [],
    problems: [],
  });
});

test('every field is documented at some length', () => {
  for (const { path, description } of listFields(craftConfigSchema)) {
    expect(description.length, path).toBeGreaterThan(60);
  }
});
