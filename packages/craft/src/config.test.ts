import { listFields } from '@craft-ft/policies';
import { expect, test } from 'vitest';
import { CRAFT_FLAGS_NOT_YET, craftConfigSchema, resolveEpsilon, validateCraft } from './config.js';

const problems = (fields: object) => validateCraft(craftConfigSchema.parse(fields)).map(({ field }) => field);

test('defaults are those of the original project, but for the retention mode, its scale and ε', () => {
  expect(craftConfigSchema.parse({})).toMatchObject({
    enabled: false,
    anchor_dataset_path: '',
    anchor_cache_dir: '',
    anchor_batch_size: 16,
    retention_freq: 5,
    retention_mode: 'loss',
    retention_modes: null,
    retention_scale: 'step',
    initial_lambda: 1,
    lambda_lr: 0.01,
    lambda_max: 10,
    lambda_controller: 'gradient',
    epsilon_start: null,
    epsilon_end: null,
    epsilon_decay_steps: 0,
    epsilon_schedule: 'linear',
    epsilon_mode: 'auto',
    use_grad_projection: true,
    surgery: 'projection',
    surgery_granularity: 'model',
    stale_projection: false,
    conflict_threshold: -0.1,
    conflict_metric: 'cosine',
    projection_mode: 'weighted',
    log_craft_metrics_freq: 100,
    save_lambda_history: true,
  });
});

test('ε that is not given holds what there is, in the measure that the modes have', () => {
  const epsilon = (fields: object) => resolveEpsilon(craftConfigSchema.parse(fields));
  expect(epsilon({})).toEqual({ mode: 'relative', start: 1, end: 1 });
  expect(epsilon({ retention_mode: 'hidden' })).toEqual({ mode: 'absolute', start: 0.05, end: 0.05 });
  expect(epsilon({ retention_modes: { hidden: 1, loss: 0.1 } }).mode).toBe('relative');
  expect(epsilon({ retention_modes: { hidden: 1, action: 2 } }).mode).toBe('absolute');
  expect(epsilon({ epsilon_mode: 'absolute', epsilon_start: 2 })).toEqual({
    mode: 'absolute',
    start: 2,
    end: 2,
  });
  // Given values are absolute, as in the original.
  expect(epsilon({ epsilon_start: 1, epsilon_end: 0.1 })).toEqual({ mode: 'absolute', start: 1, end: 0.1 });
  expect(epsilon({ epsilon_end: 0.1 })).toEqual({ mode: 'absolute', start: 0.1, end: 0.1 });
  const relative = { epsilon_mode: 'relative', epsilon_start: 1.2 };
  expect(epsilon(relative)).toEqual({ mode: 'relative', start: 1.2, end: 1.2 });
});

test('rules between fields', () => {
  expect(problems({})).toEqual([]);
  expect(problems({ enabled: true })).toEqual(['craft.anchor_dataset_path']);
  expect(problems({ enabled: true, anchor_dataset_path: 'old' })).toEqual([]);
  expect(problems({ epsilon_start: 0.05, epsilon_end: 0.1 })).toEqual(['craft.epsilon_start']);
  expect(problems({ epsilon_start: 0.05, epsilon_end: 0.1, epsilon_schedule: 'constant' })).toEqual([]);
  expect(problems({ initial_lambda: 11 })).toEqual(['craft.initial_lambda']);
  expect(problems({ enabled: true, initial_lambda: 11, epsilon_start: 0, epsilon_end: 1 })).toHaveLength(3);
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
  { retention_modes: { logits: 1 } },
  { retention_modes: { hidden: 0 } },
  { surgery: 'gem' },
  { cagrad_c: 1 },
  { lambda_smoothing: 1 },
  { anchor_cache: 'x' },
])('%j is refused', (fields) => {
  expect(craftConfigSchema.safeParse(fields).success).toBe(false);
});

test('a threshold of 0 or above is allowed', () => {
  expect(problems({ conflict_threshold: 0 })).toEqual([]);
  expect(problems({ conflict_threshold: 1.5 })).toEqual([]);
});

test('a relative ε on a loss that starts at 0 is refused before anything is loaded', () => {
  const fields = { retention_mode: 'action', epsilon_mode: 'relative' };
  expect(problems(fields)).toEqual(['craft.epsilon_mode']);
  expect(problems({ ...fields, anchor_cache_dir: 'cache' })).toEqual([]);
  expect(problems({ retention_modes: {} })).toEqual(['craft.retention_modes']);
});

test('every field of the original project is available', () => {
  expect(CRAFT_FLAGS_NOT_YET).toEqual([]);
});

test('every field is documented at some length', () => {
  for (const { path, description } of listFields(craftConfigSchema)) {
    expect(description.length, path).toBeGreaterThan(60);
  }
});
