import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadPolicy, readPolicyConfig } from '@craft-ft/policies';
import { safetensors, scope } from '@craft-ft/torch';
import { beforeAll, expect, test } from 'vitest';
import { makeCameraTask } from '../../datasets/test/cameras.js';
import { withFakeHub } from '../../datasets/test/hub.js';
import { testFolder } from '../../training/test/training.js';
import { checkpoint, flags, train } from '../test/runs.js';

const context = withFakeHub();
const folder = testFolder();
const data = join(folder, 'task');
const local = join(folder, 'local');

const SEEING = ['--policy.vision_backbone=resnet18_narrow', '--batch_size=2', '--steps=2', '--save_freq=0'];

/** The flags of `flags` without a dataset folder: the dataset is looked up by name. */
const byName = (run: string, ...more: string[]): string[] =>
  flags(data, join(folder, run), ...SEEING, ...more).filter((flag) => !flag.startsWith('--dataset.root'));

/** A folder with a backbone's weights under torchvision's names, as a repository holds them. */
function backboneFolder(): string {
  const dir = join(checkpoint(local, 2), 'pretrained_model');
  const target = join(folder, 'backbone');
  mkdirSync(target);
  writeFileSync(join(target, 'config.json'), '{"architecture": "resnet18"}');
  scope(() => {
    const policy = loadPolicy(dir, readPolicyConfig(dir).config);
    const prefix = 'model.backbone.';
    const tensors = [...policy.stateDict()].filter(([name]) => name.startsWith(prefix));
    safetensors.saveFile(
      join(target, 'model.safetensors'),
      new Map(tensors.map(([name, tensor]) => [name.slice(prefix.length), tensor])),
    );
  });
  return target;
}

const publish = (id: string, files: string, tag: string): void => {
  context.hub.addRepo(id);
  context.hub.commitFolder(id, files, { tag });
};

beforeAll(async () => {
  await makeCameraTask(data);
  const ran = await train(flags(data, local, ...SEEING, '--policy.pretrained_backbone_weights=null'));
  expect(ran).toMatchObject({ code: 0, err: '' });
});

test('dataset, backbone and policy are fetched by name', async () => {
  publish('datasets/test/task', data, 'v3.0');
  publish('models/timm/narrow', backboneFolder(), 'v1');
  publish('models/user/act', join(checkpoint(local, 2), 'pretrained_model'), 'v1');

  const fresh = await train(byName('fresh', '--policy.pretrained_backbone_weights=timm/narrow'));
  expect(fresh).toMatchObject({ code: 0 });
  expect(fresh.out).toMatch(/downloading test\/task from the Hugging Face Hub/);

  const tuned = await train([
    '--policy.path=user/act',
    ...byName('tuned').filter((flag) => !flag.startsWith('--policy.')),
    '--optimizer.lr=0',
    '--policy.optimizer_lr_backbone=0',
    '--policy.optimizer_weight_decay=0',
  ]);
  expect(tuned).toMatchObject({ code: 0 });
  const weights = (run: string) =>
    readFileSync(join(checkpoint(run, 2), 'pretrained_model/model.safetensors'));
  expect(weights(join(folder, 'tuned')).equals(weights(local))).toBe(true);
});

test('a dataset and a policy that the Hub does not have are named', async () => {
  const dataset = await train(byName('none', '--policy.pretrained_backbone_weights=null'));
  expect(dataset.code).toBe(1);
  expect(dataset.err).toMatch(/^craft: error: [^\n]*test\/task[^\n]*\n$/);
  const policy = await train(['--policy.path=user/nothing', ...byName('none')]);
  expect(policy.code).toBe(1);
  expect(policy.err).toMatch(/craft: error: [^\n]*user\/nothing[^\n]*\n$/);
});
