import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CraftError, memory, scope, type Tensor, tensor } from '@craft-ft/torch';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type { DatasetStats } from '../../../datasets/src/dataset/stats.js';
import { evenStats } from '../../../datasets/test/stats.js';
import { thrown } from '../../../datasets/test/thrown.js';
import { goldenPi0Path, newFolder, readGolden, smallFast } from '../../test/tokenizers.js';
import { loadPipeline, loadProcessors, makeProcessors } from '../policy-processors.js';
import { saveProcessors } from '../processors/pipeline.js';
import { RelativeActionsStep } from '../processors/relative-actions.js';
import { statTensors } from '../processors/stats.js';
import type { Texts } from '../processors/step.js';
import { parsePolicyConfig, withOwnFiles } from '../registry.js';
import { TextTokenizer } from '../tokenizers/text-tokenizer.js';
import { ActionTokens } from './action-tokens.js';
import type { Pi0FastConfig } from './configuration.js';
import { FastTokenizer } from './fast/tokenizer.js';
import { PromptStep, stateBin, statePrompt } from './processors.js';

const [STEPS, WIDTH] = [6, 2];
const fast = smallFast(STEPS, WIDTH).folder;

const feature = (n: number) => evenStats(n, { min: -4, max: 4, q01: -2, q99: 2 });
const stats: DatasetStats = { 'observation.state': feature(3), action: feature(WIDTH) };

function configuration(changes: Partial<Pi0FastConfig> = {}): Pi0FastConfig {
  const plain = {
    type: 'pi0_fast',
    device: 'cpu',
    paligemma_variant: 'gemma_tiny',
    image_resolution: [56, 56],
    chunk_size: STEPS,
    n_action_steps: STEPS,
    max_state_dim: 4,
    max_action_tokens: 48,
    tokenizer_max_length: 64,
    text_tokenizer_name: 'builtin:bytes',
    action_tokenizer_name: fast,
    input_features: { 'observation.state': { type: 'STATE', shape: [3] } },
    output_features: { action: { type: 'ACTION', shape: [WIDTH] } },
    ...changes,
  };
  return parsePolicyConfig(plain, 'test') as Pi0FastConfig;
}

const state = () => tensor([[-2, 0, 1.9]]);
const action = () => tensor([Array.from({ length: STEPS }, (_, t) => [Math.sin(t), 1 - t / 4])]);
const ids = (values: Tensor): number[] => (values.tolist() as number[][])[0]!.map(Number);
const difference = (a: Tensor, b: Tensor) => a.sub(b).abs().max().item();

let dir = '';
beforeEach(() => {
  dir = newFolder();
});
const readJson = (name: string) => JSON.parse(readFileSync(join(dir, name), 'utf8'));

describe.skipIf(goldenPi0Path('state_prompt.json') === null)('prompts equal LeRobot', () => {
  test('texts and bins', () => {
    const golden = readGolden<{
      cases: { task: string; state_f32: number[]; bins: number[]; prompt: string }[];
      nan_inf: { bins: number[] };
    }>('state_prompt.json');
    for (const { task, state_f32: values, bins, prompt } of golden.cases) {
      expect(values.map(stateBin)).toEqual(bins);
      expect(statePrompt(task, values)).toBe(prompt);
      const texts: Texts = { task: [task] };
      const step = new PromptStep({ maxStateDim: values.length });
      step.process({ 'observation.state': tensor([values]) }, texts);
      expect(texts.task).toEqual([prompt]);
    }
    expect([Number.NaN, Infinity, -Infinity].map(stateBin)).toEqual(golden.nan_inf.bins);
  });
});

test('a training batch: prompt, its tokens, the tokens of the actions', () => {
  const processors = makeProcessors(configuration(), statTensors(stats));
  const texts = { task: ['pick_up the\nbottle '] };
  const batch = processors.preprocess({ 'observation.state': state(), action: action() }, texts);
  expect(texts).toEqual({ task: ['pick_up the\nbottle '] });
  const tokens = batch['observation.language.tokens']!;
  const mask = batch['observation.language.attention_mask']!;
  expect([tokens.dtype, mask.dtype, tokens.shape, mask.shape]).toEqual(['int64', 'bool', [1, 64], [1, 64]]);
  const text = TextTokenizer.loadSync('builtin:bytes');
  // The state is padded with zeros to max_state_dim.
  const prompt = 'Task: pick up the bottle, State: 0 128 249 128;\n';
  expect(text.decode(ids(tokens))).toBe(prompt);
  expect(ids(tokens)[0]).toBe(text.bosId);
  expect(ids(mask).reduce((sum, x) => sum + x, 0)).toBe(prompt.length + 1);
  const coded = new ActionTokens({ text, fast: FastTokenizer.loadSync(fast) });
  expect(batch['action.token_mask']!.dtype).toBe('bool');
  const decoded = coded.decode(ids(batch['action.tokens']!), STEPS, WIDTH);
  expect(decoded.problem).toBeNull();
  expect(difference(tensor([decoded.actions]), batch.action!)).toBeLessThan(0.3);
  expect(difference(processors.postprocess(batch.action!), action())).toBeLessThan(1e-5);
});

test('an observation without action, one instruction for several samples, none', () => {
  const processors = makeProcessors(configuration(), statTensors(stats));
  const two = tensor([
    [0, 0, 0],
    [1, 1, 1],
  ]);
  const batch = processors.preprocess({ 'observation.state': two }, { task: ['push'] });
  expect(batch['observation.language.tokens']!.shape).toEqual([2, 64]);
  expect(batch['action.tokens']).toBeUndefined();
  const single = processors.preprocess({ 'observation.state': tensor([0, 0, 0]) }, { task: [''] });
  expect(single['observation.language.tokens']!.shape).toEqual([1, 64]);
  const failing = (texts?: Texts) => thrown(() => processors.preprocess({ 'observation.state': two }, texts));
  expect(failing()).toMatchObject({
    code: 'PROCESSOR_TASK',
    message: expect.stringContaining('no instruction'),
  });
  expect(failing({ task: ['a', 'b', 'c'] }).message).toContain('3 instructions "task" for 2 samples');
});

test('what is too long is cut, with one warning each', () => {
  const onWarning = vi.fn();
  const config = configuration({ tokenizer_max_length: 10, max_action_tokens: 12 });
  const processors = makeProcessors(config, statTensors(stats), { onWarning });
  for (let i = 0; i < 2; i++) {
    const batch = processors.preprocess(
      { 'observation.state': state(), action: action() },
      { task: ['push'] },
    );
    expect(batch['observation.language.tokens']!.shape).toEqual([1, 10]);
    expect(ids(batch['action.token_mask']!)).toEqual(Array(12).fill(1));
  }
  expect(onWarning.mock.calls.map(([line]) => String(line).slice(0, 24))).toEqual([
    'a prompt of 35 tokens is',
    expect.stringContaining('an action chunk of'),
  ]);
});

test("the files are LeRobot's, and come back the same", () => {
  const config = configuration();
  saveProcessors(makeProcessors(config, statTensors(stats)), dir);
  const pre = readJson('policy_preprocessor.json');
  expect(pre.steps.map(({ registry_name: name }: { registry_name: string }) => name)).toEqual([
    'rename_observations_processor',
    'to_batch_processor',
    'relative_actions_processor',
    'normalizer_processor',
    'pi0_fast_prepare_state_tokenizer_processor_step',
    'tokenizer_processor',
    'action_tokenizer_processor',
    'device_processor',
  ]);
  expect(pre.steps.slice(4, 7).map(({ config: own }: { config: object }) => own)).toEqual([
    { max_state_dim: 4, task_key: 'task' },
    {
      max_length: 64,
      task_key: 'task',
      padding_side: 'right',
      padding: 'max_length',
      truncation: true,
      tokenizer_name: 'builtin:bytes',
    },
    {
      trust_remote_code: true,
      max_action_tokens: 48,
      fast_skip_tokens: 128,
      paligemma_tokenizer_name: 'builtin:bytes',
      action_tokenizer_name: fast,
    },
  ]);
  expect(pre.steps[2].config).toEqual({ enabled: false, exclude_joints: ['gripper'], action_names: null });
  const post = readJson('policy_postprocessor.json');
  expect(post.steps.map(({ registry_name: name }: { registry_name: string }) => name)).toEqual([
    'unnormalizer_processor',
    'absolute_actions_processor',
    'device_processor',
  ]);
  const loaded = loadProcessors(dir, config);
  const again = newFolder();
  saveProcessors(loaded, again);
  // The tokeniser's folder goes with the checkpoint.
  expect(FastTokenizer.loadSync(join(dir, 'fast_tokenizer')).bpe.merges).toEqual(
    FastTokenizer.loadSync(fast).bpe.merges,
  );
  const moved = withOwnFiles({ ...config, action_tokenizer_name: '/elsewhere/fast' }, dir);
  expect(moved.action_tokenizer_name).toBe(join(dir, 'fast_tokenizer'));
  expect(withOwnFiles({ ...config }, dir).action_tokenizer_name).toBe(fast);
  for (const name of readdirSync(dir).filter((file) => file.startsWith('policy_'))) {
    expect(readFileSync(join(again, name)).equals(readFileSync(join(dir, name))), name).toBe(true);
  }
});

test("a checkpoint that LeRobot wrote: what its files leave out comes from the policy's configuration", () => {
  const config = configuration();
  saveProcessors(makeProcessors(config, statTensors(stats)), dir);
  const json = readJson('policy_preprocessor.json');
  // LeRobot 0.4 has no relative actions, saves nothing of the prompt step, and of the action tokens only this.
  json.steps[4].config = {};
  json.steps[5].config.tokenizer_name = 'google/paligemma-3b-pt-224';
  json.steps[6].config = {
    trust_remote_code: true,
    max_action_tokens: 48,
    action_tokenizer_name: 'physical-intelligence/fast',
  };
  json.steps.splice(2, 1);
  writeFileSync(join(dir, 'policy_preprocessor.json'), JSON.stringify(json));
  const processors = loadProcessors(dir, config);
  const inputs = { 'observation.state': state(), action: action() };
  const expected = makeProcessors(config, statTensors(stats)).preprocess(inputs, { task: ['push'] });
  const found = processors.preprocess(inputs, { task: ['push'] });
  for (const key of Object.keys(expected)) expect(found[key]!.equal(expected[key]!), key).toBe(true);
  // Without the configuration, LeRobot's own defaults.
  const steps = loadPipeline(join(dir, 'policy_preprocessor.json')).steps;
  expect(steps[3]!.config()).toEqual({ max_state_dim: 32, task_key: 'task' });
  expect(steps[5]!.config()).toMatchObject({ paligemma_tokenizer_name: 'google/paligemma-3b-pt-224' });
});

describe('relative actions', () => {
  test('there and back, but for excluded joints', () => {
    const config = configuration({
      use_relative_actions: true,
      relative_exclude_joints: ['Gripper'],
      action_feature_names: ['shoulder.pos', 'left_gripper.pos'],
    });
    const processors = makeProcessors(config, statTensors(stats));
    const inputs = { 'observation.state': tensor([[0.5, 7, 1]]), action: action() };
    const { action: found } = processors.preprocess(inputs, { task: ['push'] });
    const offset = tensor([[[0.5, 0]]]);
    expect(difference(found!, action().sub(offset).div(2))).toBeLessThan(1e-6);
    expect(difference(processors.postprocess(found!), action())).toBeLessThan(1e-5);
    expect(difference(processors.postprocess(found!.select(1, 0)), action().select(1, 0))).toBeLessThan(1e-5);
  });

  test('without an observation, or with a state that is too short, an error says so', () => {
    const config = configuration({ use_relative_actions: true });
    const processors = makeProcessors(config, statTensors(stats));
    expect(thrown(() => processors.postprocess(action()))).toMatchObject({ code: 'PROCESSOR_RELATIVE' });
    const step = new RelativeActionsStep({ enabled: true });
    const inputs = { 'observation.state': tensor([[1]]), action: action() };
    expect(thrown(() => step.process(inputs)).message).toContain('the state has 1 dimensions, the action 2');
  });

  test('holds on to one state only', () => {
    const step = new RelativeActionsStep({ enabled: true });
    const inputs = { 'observation.state': state(), action: action() };
    scope(() => void step.process(inputs));
    const before = memory().tensors;
    for (let i = 0; i < 5; i++) scope(() => void step.process(inputs));
    expect(memory().tensors).toBe(before);
  });
});

test('a tokeniser that is not here is named when it is needed', () => {
  const config = configuration({ action_tokenizer_name: './gone' });
  const processors = makeProcessors(config, statTensors(stats));
  const batch = { 'observation.state': state() };
  expect(processors.preprocess(batch, { task: ['push'] })['observation.language.tokens']).toBeDefined();
  const error = thrown(() => processors.preprocess({ ...batch, action: action() }, { task: ['push'] }));
  expect(error).toBeInstanceOf(CraftError);
  expect(error).toMatchObject({ code: 'TOKENIZER_MISSING', message: expect.stringContaining('./gone') });
});
