import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { manualSeed, noGrad, ones, randn, safetensors, type Tensor, zeros } from '@craft-ft/torch';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { thrown } from '../../../datasets/test/thrown.js';
import type { Policy } from '../policy.js';
import { makeProcessors } from '../policy-processors.js';
import { loadPolicy, makePolicy, savePolicy } from '../pretrained.js';
import { type PolicyConfig, parsePolicyConfig, readPolicyConfig } from '../registry.js';
import { attachedLora, attachLora, mergeLora } from './attach.js';
import { loraSettings, peftConfigSchema } from './config.js';

const config = parsePolicyConfig(
  {
    type: 'act',
    device: 'cpu',
    chunk_size: 3,
    n_action_steps: 3,
    dim_model: 16,
    n_heads: 2,
    dim_feedforward: 24,
    n_encoder_layers: 1,
    n_decoder_layers: 1,
    n_vae_encoder_layers: 1,
    dropout: 0,
    normalization_mapping: { VISUAL: 'IDENTITY', STATE: 'IDENTITY', ACTION: 'IDENTITY' },
    input_features: { 'observation.state': { type: 'STATE', shape: [4] } },
    output_features: { action: { type: 'ACTION', shape: [2] } },
  },
  'test',
);

const batch = () => ({
  'observation.state': ones([2, 4]),
  action: ones([2, 3, 2]),
  action_is_pad: zeros([2, 3], { dtype: 'bool' }),
  noise: zeros([2, 32]),
});

const settings = (fields: object = {}, base = '/base') =>
  loraSettings(
    peftConfigSchema.parse({ target_modules: ['linear1', 'linear2'], r: 3, lora_alpha: 6, ...fields }),
    'act',
    base,
  );

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'lora-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const seeded = (given: PolicyConfig = config) => {
  manualSeed(3);
  return makePolicy(given);
};

function disturb(policy: Policy): void {
  noGrad(() => {
    for (const { adapter } of attachedLora(policy)!.layers) {
      adapter.lora_B.weight.copy_(randn(adapter.lora_B.weight.shape).mul(0.3));
    }
  });
}

const largestDifference = (a: Tensor, b: Tensor) => a.sub(b).abs().max().item();

describe('adapters', () => {
  it('change nothing at first; then gradients reach them and nothing else', () => {
    const policy = seeded();
    const before = policy.predictActionChunk(batch());
    const { layers } = attachLora(policy, settings());
    expect(largestDifference(policy.predictActionChunk(batch()), before)).toBe(0);
    expect(layers[0]!.adapter.scaling).toBe(2);
    disturb(policy);
    policy.call(batch()).loss.backward();
    const names = policy.parameterGroups().flatMap(({ parameters }) => parameters.map(([name]) => name));
    expect(names).toHaveLength(2 * layers.length);
    for (const [name, parameter] of policy.namedParameters()) {
      const adapter = name.includes('.adapter.');
      expect([name, parameter.grad !== null, parameter.requiresGrad]).toEqual([name, adapter, adapter]);
      expect(names.includes(name)).toBe(adapter);
    }
  });

  it.each([{}, { use_rslora: true }, { init_type: 'gaussian' }])(
    '%o: merged is the same policy',
    (fields) => {
      const policy = seeded();
      attachLora(policy, settings(fields));
      disturb(policy);
      const apart = policy.predictActionChunk(batch());
      const plain = seeded();
      expect(largestDifference(plain.predictActionChunk(batch()), apart)).toBeGreaterThan(1e-3);
      mergeLora(policy);
      expect(largestDifference(policy.predictActionChunk(batch()), apart)).toBeLessThan(1e-5);
      expect([...policy.stateDict().keys()]).toEqual([...plain.stateDict().keys()]);
      expect(thrown(() => mergeLora(policy)).code).toBe('LORA_NOT_ATTACHED');
    },
  );

  it('drop out in training only', () => {
    const policy = seeded();
    attachLora(policy, settings({ lora_dropout: 0.5 }));
    disturb(policy);
    expect(largestDifference(policy.predictActionChunk(batch()), policy.predictActionChunk(batch()))).toBe(0);
    const loss = () => policy.call(batch()).loss.item();
    expect(loss()).not.toBe(loss());
  });

  it('stay float32 in a bfloat16 model', () => {
    const policy = seeded().to({ dtype: 'bfloat16' });
    const { layers } = attachLora(policy, settings());
    const [{ layer, adapter }] = layers as [(typeof layers)[0]];
    expect(adapter.lora_A.weight.dtype).toBe('float32');
    expect(layer.call(ones([1, layer.weight.size(1)], { dtype: 'bfloat16' })).dtype).toBe('bfloat16');
  });
});

describe('targets', () => {
  const attach = (fields: object) => attachLora(seeded(), settings(fields));
  const layers = (fields: object) => attach(fields).layers.map(({ name }) => name);

  it('are endings, a regular expression, or every linear layer but those inside packed attention', () => {
    expect(layers({ target_modules: ['decoder.layers.0.linear1'] })).toEqual([
      'model.decoder.layers.0.linear1',
    ]);
    expect(layers({ target_modules: String.raw`model\.encoder\.layers\.\d+\.linear[12]` })).toEqual([
      'model.encoder.layers.0.linear1',
      'model.encoder.layers.0.linear2',
    ]);
    const all = layers({ target_modules: 'all-linear' });
    expect(all).toContain('model.action_head');
    expect(all.some((name) => name.includes('attn'))).toBe(false);
  });

  it('leave out what is trained in full', () => {
    const { layers: found, fullyTrained } = attach({
      target_modules: 'all-linear',
      full_training_modules: ['action_head', 'vae_encoder'],
    });
    expect(fullyTrained).toEqual(['model.vae_encoder', 'model.action_head']);
    expect(found.some(({ name }) => /action_head|model\.vae_encoder\./.test(name))).toBe(false);
  });

  it.each([
    [{ target_modules: ['q_proj'] }, /matches no layer; linear layers end in .*linear1/],
    [{ target_modules: '(' }, /regular expression/],
    [{ target_modules: ['self_attn'] }, /self_attn belongs to a packed attention/],
    [{ target_modules: ['out_proj'] }, /self_attn.out_proj belongs to a packed attention/],
    [{ target_modules: ['norm1'] }, /norm1 is a LayerNorm/],
    [{ full_training_modules: ['nothing'] }, /no module ends in "nothing"/],
  ])('%o is refused', (fields, message) => {
    const error = thrown(() => attach(fields));
    expect(error.code).toBe('LORA_TARGETS');
    expect(error.message).toMatch(message);
  });
});

describe('files', () => {
  const processors = () => makeProcessors(config, new Map());
  const saved = (policy: Policy, name: string) => {
    const dir = join(folder, name);
    mkdirSync(dir);
    savePolicy(policy, processors(), dir);
    return dir;
  };

  function withAdapters(name: string) {
    const base = saved(seeded(), `${name}-base`);
    const policy = seeded({ ...config, use_peft: true });
    attachLora(policy, settings({ full_training_modules: ['action_head'] }, base));
    disturb(policy);
    noGrad(() =>
      policy
        .namedParameters()
        .find(([key]) => key === 'model.action_head.bias')![1]
        .fill_(0.5),
    );
    return { base, policy, dir: saved(policy, name) };
  }

  it('are those of PEFT, and give the same policy again', () => {
    const { base, policy, dir } = withAdapters('own');
    const names = [...safetensors.loadFile(join(dir, 'adapter_model.safetensors')).keys()].sort();
    expect(names.slice(0, 4)).toEqual([
      'base_model.model.model.action_head.bias',
      'base_model.model.model.action_head.weight',
      'base_model.model.model.decoder.layers.0.linear1.lora_A.weight',
      'base_model.model.model.decoder.layers.0.linear1.lora_B.weight',
    ]);
    expect(JSON.parse(readFileSync(join(dir, 'adapter_config.json'), 'utf8'))).toMatchObject({
      peft_type: 'LORA',
      base_model_name_or_path: base,
      r: 3,
      lora_alpha: 6,
      target_modules: ['linear1', 'linear2'],
      modules_to_save: ['action_head'],
    });
    const { config: read } = readPolicyConfig(dir);
    expect(read.use_peft).toBe(true);
    const again = loadPolicy(dir, read);
    expect(largestDifference(again.predictActionChunk(batch()), policy.predictActionChunk(batch()))).toBe(0);
    const trained = (one: Policy) =>
      one.parameterGroups().flatMap(({ parameters }) => parameters.map(([name]) => name));
    expect(trained(again)).toEqual(trained(policy));
    const resaved = saved(again, 'resaved');
    for (const file of ['adapter_model.safetensors', 'adapter_config.json', 'config.json']) {
      expect(readFileSync(join(resaved, file)).equals(readFileSync(join(dir, file)))).toBe(true);
    }
  });

  it('that do not fit, or whose base is gone, say so', () => {
    const { base, dir } = withAdapters('broken');
    const file = join(dir, 'adapter_config.json');
    const text = JSON.parse(readFileSync(file, 'utf8'));
    const failure = (fields: object) => {
      writeFileSync(file, JSON.stringify({ ...text, ...fields }));
      return thrown(() => loadPolicy(dir, readPolicyConfig(dir).config));
    };
    expect(failure({ base_model_name_or_path: '/gone' })).toMatchObject({
      code: 'LORA_BASE',
      message: `${file}: base_model_name_or_path=/gone is not here; copy it there, or change the field to where it is`,
    });
    expect(failure({ use_dora: true })).toMatchObject({ code: 'LORA_UNSUPPORTED' });
    expect(failure({ peft_type: 'IA3' }).message).toMatch(/adapter_config.json: peft_type/);
    expect(failure({ base_model_name_or_path: null }).message).toMatch(/base_model_name_or_path is missing/);
    expect(failure({ r: 5 }).message).toMatch(/has r=5 .*misshaped/);
    expect(failure({ target_modules: ['linear1'] }).message).toMatch(/unexpected .*linear2/);
    const nested = join(folder, 'nested');
    cpSync(dir, nested, { recursive: true });
    expect(failure({ base_model_name_or_path: nested })).toMatchObject({ code: 'LORA_BASE' });
    writeFileSync(file, JSON.stringify(text));
    expect(loadPolicy(dir, readPolicyConfig(dir).config).config.type).toBe('act');
    expect(base).toContain('broken-base');
  });
});
