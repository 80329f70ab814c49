import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rand, safetensors, type Tensor, tensor } from '@craft-ft/torch';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { DatasetStats } from '../../../datasets/src/dataset/stats.js';
import { thrown as error } from '../../../datasets/test/thrown.js';
import { actConfigSchema } from '../act/configuration.js';
import { loadPipeline, loadProcessors, makeProcessors } from '../policy-processors.js';
import { DeviceStep, RenameStep, ToBatchStep } from './basic-steps.js';
import { saveProcessors } from './pipeline.js';
import { statTensors } from './stats.js';

const config = actConfigSchema.parse({
  type: 'act',
  device: 'cpu',
  input_features: { 'observation.state': { type: 'STATE', shape: [3] } },
  output_features: { action: { type: 'ACTION', shape: [2] } },
});

const stats: DatasetStats = {
  'observation.state': {
    shape: [3],
    count: 5,
    min: [0, 0, 0],
    max: [1, 1, 1],
    mean: [1, 2, 3],
    std: [1, 2, 4],
  },
  action: { shape: [2], count: 5, min: [0, 0], max: [1, 1], mean: [-1, 1], std: [0.5, 2] },
};

const difference = (a: Tensor, b: Tensor) => a.sub(b).abs().max().item();

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'craft-processors-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const readJson = (name: string) => JSON.parse(readFileSync(join(dir, name), 'utf8'));

describe('files', () => {
  test("are LeRobot's", () => {
    saveProcessors(makeProcessors(config, statTensors(stats)), dir);
    expect(readdirSync(dir).sort()).toEqual([
      'policy_postprocessor.json',
      'policy_postprocessor_step_0_unnormalizer_processor.safetensors',
      'policy_preprocessor.json',
      'policy_preprocessor_step_3_normalizer_processor.safetensors',
    ]);
    const normMap = { VISUAL: 'MEAN_STD', STATE: 'MEAN_STD', ACTION: 'MEAN_STD' };
    expect(readJson('policy_preprocessor.json')).toEqual({
      name: 'policy_preprocessor',
      steps: [
        { registry_name: 'rename_observations_processor', config: { rename_map: {} } },
        { registry_name: 'to_batch_processor', config: {} },
        { registry_name: 'device_processor', config: { device: 'cpu', float_dtype: null } },
        {
          registry_name: 'normalizer_processor',
          config: {
            eps: 1e-8,
            features: { ...config.input_features, ...config.output_features },
            norm_map: normMap,
          },
          state_file: 'policy_preprocessor_step_3_normalizer_processor.safetensors',
        },
      ],
    });
    expect(readJson('policy_postprocessor.json')).toEqual({
      name: 'policy_postprocessor',
      steps: [
        {
          registry_name: 'unnormalizer_processor',
          config: { eps: 1e-8, features: config.output_features, norm_map: normMap },
          state_file: 'policy_postprocessor_step_0_unnormalizer_processor.safetensors',
        },
        { registry_name: 'device_processor', config: { device: 'cpu', float_dtype: null } },
      ],
    });
    const state = safetensors.loadFile(
      join(dir, 'policy_preprocessor_step_3_normalizer_processor.safetensors'),
    );
    expect([...state.keys()].filter((key) => key.startsWith('action.')).sort()).toEqual([
      'action.count',
      'action.max',
      'action.mean',
      'action.min',
      'action.std',
    ]);
    expect(state.get('action.count')!.tolist()).toEqual([5]);
    expect(state.get('action.mean')!.dtype).toBe('float32');
  });

  test('what was written, read: the same numbers, and the same files again', () => {
    const processors = makeProcessors(config, statTensors(stats));
    saveProcessors(processors, dir);
    const loaded = loadProcessors(dir, config);
    const batch = { 'observation.state': rand([2, 3]), action: rand([2, 8, 2]) };
    const [first, second] = [processors.preprocess(batch), loaded.preprocess(batch)];
    for (const key of Object.keys(batch)) expect(first[key]!.equal(second[key]!)).toBe(true);
    expect(difference(loaded.postprocess(second.action!), batch.action)).toBeLessThan(1e-6);
    const again = join(dir, 'again');
    mkdirSync(again);
    saveProcessors(loaded, again);
    for (const name of readdirSync(again)) {
      expect(readFileSync(join(again, name)).equals(readFileSync(join(dir, name))), name).toBe(true);
    }
  });

  test('overrides replace what was saved', () => {
    saveProcessors(makeProcessors({ ...config }, statTensors(stats)), dir);
    const changed = structuredClone(stats);
    changed.action!.mean = [0, 0];
    const overrides = { renameMap: { qpos: 'observation.state' }, stats: statTensors(changed) };
    const { preprocessor, postprocessor } = loadProcessors(dir, config, overrides);
    const result = preprocessor.process({ qpos: tensor([[1, 2, 3]]), action: tensor([[1, 2]]) });
    expect(result['observation.state']!.tolist()).toEqual([[0, 0, 0]]);
    expect(difference(result.action!, tensor([[2, 1]]))).toBeLessThan(1e-6);
    expect(postprocessor.process({ action: tensor([[2, 1]]) }).action!.tolist()).toEqual([[1, 2]]);
  });
});

describe('files of a newer or broken LeRobot', () => {
  function withStep(i: number, change: (step: Record<string, unknown>) => void): string {
    saveProcessors(makeProcessors(config, statTensors(stats)), dir);
    const json = readJson('policy_preprocessor.json');
    change(json.steps[i]);
    const path = join(dir, 'policy_preprocessor.json');
    writeFileSync(path, JSON.stringify(json));
    return path;
  }

  test('settings that are switched off are ignored', () => {
    const path = withStep(3, (step) =>
      Object.assign(step.config as object, { clip: false, extra: null, more: {} }),
    );
    expect(loadPipeline(path).steps).toHaveLength(4);
  });

  test('settings that would change the result are refused', () => {
    const path = withStep(3, (step) => Object.assign(step.config as object, { clip: 5 }));
    expect(error(() => loadPipeline(path)).message).toMatch(/step 3 \(normalizer_processor\).*clip=5/);
  });

  test('an unknown step is named', () => {
    const path = withStep(1, (step) => Object.assign(step, { registry_name: 'blur_processor' }));
    const { code, message } = error(() => loadPipeline(path));
    expect(code).toBe('PROCESSOR_STEP_UNKNOWN');
    expect(message).toContain('policy_preprocessor.json: step 1 (blur_processor)');
  });

  test('a state file that is gone, or somewhere else', () => {
    const path = withStep(3, (step) => Object.assign(step, { state_file: 'gone.safetensors' }));
    expect(error(() => loadPipeline(path)).message).toContain('gone.safetensors is missing');
    const outside = withStep(3, (step) => Object.assign(step, { state_file: '../gone.safetensors' }));
    expect(error(() => loadPipeline(outside)).code).toBe('PROCESSOR_INVALID');
  });

  test('a normaliser without state is refused', () => {
    const path = withStep(3, (step) => delete step.state_file);
    expect(error(() => loadPipeline(path)).code).toBe('NORMALIZER_STATS_MISSING');
  });

  test('broken JSON, and a missing half', () => {
    const path = withStep(0, () => {});
    writeFileSync(path, '{"name": ');
    expect(error(() => loadPipeline(path)).code).toBe('PROCESSOR_INVALID');
    rmSync(path);
    expect(error(() => loadProcessors(dir, config)).code).toBe('PROCESSOR_MISSING');
  });
});

describe('checkpoints from before processors', () => {
  const legacy = new Map<string, Tensor>();
  beforeEach(() => {
    legacy.clear();
    legacy.set('normalize_inputs.buffer_observation_state.mean', tensor([1, 2, 3]));
    legacy.set('normalize_inputs.buffer_observation_state.std', tensor([1, 2, 4]));
    legacy.set('normalize_targets.buffer_action.mean', tensor([-1, 1]));
    legacy.set('normalize_targets.buffer_action.std', tensor([0.5, 2]));
    legacy.set('unnormalize_outputs.buffer_action.mean', tensor([-1, 1]));
    legacy.set('unnormalize_outputs.buffer_action.std', tensor([0.5, 2]));
    legacy.set('model.action_head.bias', tensor([0, 0]));
  });
  const save = () => safetensors.saveFile(join(dir, 'model.safetensors'), legacy);

  test('their statistics are read from the model file', () => {
    save();
    const processors = loadProcessors(dir, config);
    const { action, 'observation.state': state } = processors.preprocess({
      'observation.state': tensor([2, 4, 7]),
      action: tensor([[-0.5, 3]]),
    });
    expect(difference(state!, tensor([[1, 1, 1]]))).toBeLessThan(1e-6);
    expect(difference(processors.postprocess(action!), tensor([[-0.5, 3]]))).toBeLessThan(1e-6);
  });

  test('infinite statistics, as LeRobot initialised them, are refused', () => {
    legacy.set('normalize_inputs.buffer_observation_state.std', tensor([1, Number.POSITIVE_INFINITY, 4]));
    save();
    expect(error(() => loadProcessors(dir, config)).message).toMatch(
      /model\.safetensors.*"std" of "observation\.state"/,
    );
  });

  test('no statistics anywhere', () => {
    for (const name of [...legacy.keys()]) if (!name.startsWith('model.')) legacy.delete(name);
    save();
    expect(error(() => loadProcessors(dir, config)).code).toBe('PROCESSOR_MISSING');
  });

  test('statistics of several datasets', () => {
    legacy.set('normalize_inputs.so100_buffer_observation_state.mean', tensor([1, 2, 3]));
    save();
    expect(error(() => loadProcessors(dir, config)).message).toContain('so100_buffer_observation_state');
  });
});

describe('steps', () => {
  test('single observations become batches of one; batches stay', () => {
    const single = {
      'observation.state': rand([3]),
      action: rand([2]),
      'observation.images.top': rand([3, 4, 4]),
    };
    const result = new ToBatchStep().process(single);
    expect(Object.values(result).map(({ shape }) => shape)).toEqual([
      [1, 3],
      [1, 2],
      [1, 3, 4, 4],
    ]);
    expect(new ToBatchStep().process(result)).toEqual(result);
  });

  test('two keys cannot get one name', () => {
    const step = new RenameStep({ a: 'b' });
    expect(error(() => step.process({ a: rand([1]), b: rand([1]) })).code).toBe('PROCESSOR_RENAME');
  });

  test('device and dtype', () => {
    const batch = { x: rand([2]), flag: tensor([true]) };
    expect(new DeviceStep('cpu').process(batch)).toEqual(batch);
    const half = new DeviceStep('cpu', 'bfloat16').process(batch);
    expect([half.x!.dtype, half.flag!.dtype]).toEqual(['bfloat16', 'bool']);
    expect(error(() => new DeviceStep('cuda:99')).code).toBe('DEVICE_UNAVAILABLE');
  });
});
