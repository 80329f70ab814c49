import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { manualSeed, rand, scope, zeros } from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import { evenStats } from '../../../datasets/test/stats.js';
import { thrown } from '../../../datasets/test/thrown.js';
import { smallAct } from '../../test/act-small.js';
import { loadProcessors, makeProcessors } from '../policy-processors.js';
import { loadPolicy, makePolicy, savePolicy } from '../pretrained.js';
import { statTensors } from '../processors/stats.js';
import { readPolicyConfig } from '../registry.js';
import type { ActConfig } from './configuration.js';
import { embedTask } from './processors.js';

const configure = (taskDim: number): ActConfig => smallAct({ task_embedding_dim: taskDim });

const processors = (config: ActConfig) =>
  makeProcessors(config, statTensors({ 'observation.state': evenStats(3), action: evenStats(2) }));

const RED = 'Put the cube in the red bin';
const BLUE = 'Put the cube in the blue bin';
const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

describe('the embedding of an instruction', () => {
  test('has length √dim, whatever the text', () => {
    for (const text of [RED, 'x', '', '把方块放进红色的盒子']) {
      const embedding = embedTask(text, 48);
      expect(dot(embedding, embedding)).toBeCloseTo(48, 3);
    }
  });

  test('case and punctuation do not count, words do', () => {
    expect(embedTask('put the CUBE in the red bin!', 64)).toEqual(embedTask(RED, 64));
    const near = dot(embedTask(RED, 64), embedTask(BLUE, 64)) / 64;
    const far = dot(embedTask(RED, 64), embedTask('press button', 64)) / 64;
    expect(near).toBeLessThan(0.85);
    expect(far).toBeLessThan(near);
  });
});

describe('ACT with an instruction', () => {
  test('acts differently on another one, and alike after saving and loading', () => {
    manualSeed(1);
    const config = configure(32);
    const dir = mkdtempSync(join(tmpdir(), 'craft-task-'));
    try {
      const policy = makePolicy(config);
      const own = processors(config);
      const state = rand([2, 3]);
      const act = (task: string[], by = policy, through = own) =>
        by.predictActionChunk(through.preprocess({ 'observation.state': state }, { task }));
      expect(act([RED, RED]).equal(act([RED]))).toBe(true);
      expect(act([RED]).equal(act([BLUE]))).toBe(false);
      savePolicy(policy, own, dir);
      const { config: loadedConfig } = readPolicyConfig(dir);
      const loaded = loadPolicy(dir, loadedConfig);
      expect(act([BLUE], loaded, loadProcessors(dir, loadedConfig)).equal(act([BLUE]))).toBe(true);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test('trains on it, and says when it is missing', () => {
    const config = configure(32);
    const policy = makePolicy(config);
    const raw = { 'observation.state': rand([2, 3]), action: rand([2, 4, 2]) };
    const padding = { action_is_pad: zeros([2, 4], { dtype: 'bool' }) };
    scope(() =>
      policy.call(processors(config).preprocess({ ...raw, ...padding }, { task: [RED] })).loss.backward(),
    );
    const projection = policy
      .namedParameters()
      .find(([name]) => name === 'model.encoder_task_input_proj.weight')!;
    expect(projection[1].grad!.abs().sum().item()).toBeGreaterThan(0);
    expect(thrown(() => processors(config).preprocess(raw)).code).toBe('PROCESSOR_TASK');
  });

  test('off, nothing of it is in the files', () => {
    const config = configure(0);
    const dir = mkdtempSync(join(tmpdir(), 'craft-task-'));
    try {
      savePolicy(makePolicy(config), processors(config), dir);
      expect(readFileSync(join(dir, 'config.json'), 'utf8')).not.toContain('task_embedding');
      expect(readFileSync(join(dir, 'policy_preprocessor.json'), 'utf8')).not.toContain('task_embedding');
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
