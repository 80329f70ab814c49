import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { manualSeed, rand, safetensors, type Tensor, zeros } from '@craft-ft/torch';
import { afterAll, expect, test } from 'vitest';
import { thrown as error } from '../../../datasets/test/thrown.js';
import { smallAct } from '../../test/act-small.js';
import { makePolicy } from '../pretrained.js';
import type { ActConfig } from './configuration.js';
import type { ActPolicy } from './policy.js';
import { ResNetBackbone } from './resnet.js';

const folder = mkdtempSync(join(tmpdir(), 'backbone-'));
afterAll(() => rmSync(folder, { recursive: true }));

const configure = (weights: string | null, changes: object = {}): ActConfig =>
  smallAct({
    use_vae: false,
    vision_backbone: 'resnet18_narrow',
    input_features: { 'observation.images.top': { type: 'VISUAL', shape: [3, 64, 64] } },
    pretrained_backbone_weights: weights,
    ...changes,
  });

/** A classifier's state dict as torchvision's: the backbone's, plus counters and the last layer. */
function classifier(): Map<string, Tensor> {
  const state = new Map<string, Tensor>();
  for (const [name, value] of new ResNetBackbone('resnet18_narrow', false).stateDict()) {
    state.set(name, name.endsWith('running_var') ? rand(value.shape).add(0.5) : rand(value.shape));
    if (name.endsWith('running_var')) {
      state.set(name.replace('running_var', 'num_batches_tracked'), zeros([], { dtype: 'int64' }));
    }
  }
  state.set('fc.weight', rand([1000, 64]));
  return state.set('fc.bias', rand([1000]));
}

function save(name: string, state: Map<string, Tensor>): string {
  const path = join(folder, name);
  safetensors.saveFile(path, state);
  return path;
}

test('the backbone starts from the file, the rest from the seed', () => {
  const state = classifier();
  const path = save('resnet.safetensors', state);
  manualSeed(1);
  const policy = makePolicy(configure(path)) as ActPolicy;
  manualSeed(1);
  const random = makePolicy(configure(null)) as ActPolicy;
  for (const [name, value] of policy.model.backbone!.stateDict()) {
    expect(value.tolist(), name).toEqual(state.get(name)!.tolist());
  }
  expect(policy.model.actionHead.weight.tolist()).toEqual(random.model.actionHead.weight.tolist());
  // LeRobot's Python, which reads the checkpoint's configuration, knows no files there.
  expect(policy.config.pretrained_backbone_weights).toBeNull();
});

test('anything else in the file, or missing from it, is an error', () => {
  const missing = classifier();
  missing.delete('layer2.0.downsample.1.running_mean');
  expect(error(() => makePolicy(configure(save('missing.safetensors', missing))))).toMatchObject({
    code: 'STATE_DICT_MISMATCH',
    message: `${join(folder, 'missing.safetensors')} does not fit the model: 1 missing (layer2.0.downsample.1.running_mean)`,
  });
  const other = classifier()
    .set('layer5.0.conv1.weight', zeros([1]))
    .set('conv1.weight', zeros([64, 3, 7, 7]));
  expect(error(() => makePolicy(configure(save('other.safetensors', other)))).message).toMatch(
    /1 unexpected \(layer5\.0\.conv1\.weight\); 1 misshaped \(conv1\.weight \(\[64,3,7,7\], expected \[8,3,7,7\]\)\)/,
  );
});

test("torchvision's name says how to get the file", () => {
  const { code, message } = error(() => makePolicy(configure('ResNet18_Weights.IMAGENET1K_V1')));
  expect(code).toBe('POLICY_BACKBONE');
  expect(message).toContain("get_model('resnet18', weights='IMAGENET1K_V1')");
  expect(message).toContain('--policy.pretrained_backbone_weights=resnet18.safetensors');
  expect(message).not.toContain('\n');
});

test('a file that is not there, or no weights', () => {
  const { code, message } = error(() => makePolicy(configure(join(folder, 'nowhere.safetensors'))));
  expect(code).toBe('POLICY_BACKBONE');
  expect(message).toContain("no such file; expected a safetensors file of torchvision's resnet18_narrow");
});

test('nothing is looked for where weights are loaded afterwards, or without cameras', () => {
  const path = join(folder, 'nowhere.safetensors');
  const loaded = makePolicy(configure(path), { pretrained: true });
  expect((loaded as ActPolicy).config.pretrained_backbone_weights).toBeNull();
  const named = makePolicy(configure('ResNet18_Weights.IMAGENET1K_V1'), { pretrained: true });
  expect((named as ActPolicy).config.pretrained_backbone_weights).toBe('ResNet18_Weights.IMAGENET1K_V1');
  const state = { 'observation.state': { type: 'STATE', shape: [3] } };
  expect(() => makePolicy(configure(path, { input_features: state }))).not.toThrow();
});
