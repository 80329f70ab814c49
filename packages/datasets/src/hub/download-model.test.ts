import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { FakeHub } from '../../test/fake-hub.js';
import { quick, withFakeHub } from '../../test/hub.js';
import { findPolicyDir } from '../policy-folder.js';
import { downloadPolicy } from './download-model.js';

const context = withFakeHub();
const id = 'models/user/act';

function publish(files: Record<string, string>): void {
  context.hub.addRepo(id);
  const content = Object.entries(files).map(([path, text]): [string, Buffer] => [path, Buffer.from(text)]);
  context.hub.commitFiles(id, new Map(content), { tag: 'v1' });
}

const processor = 'policy_preprocessor_step_3_normalizer_processor.safetensors';
const single = {
  'config.json': '{"type":"act"}',
  'model.safetensors': 'weights',
  'policy_preprocessor.json': '{}',
  [processor]: 'mean',
  'README.md': 'card',
  'training_state/optimizer_state.safetensors': 'large',
  '.gitattributes': '',
};

test('the policy at the top of a repository, into a folder of its own', async () => {
  publish(single);
  const folder = await downloadPolicy('user/act', { retry: quick });
  expect(folder).toBe(join(context.home, 'craft/policies/user/act'));
  expect(findPolicyDir(folder)).toBe(folder);
  expect(readFileSync(join(folder, 'model.safetensors'), 'utf8')).toBe('weights');
  expect(context.hub.contentRequests().sort()).toEqual(
    ['config.json', 'model.safetensors', 'policy_preprocessor.json', processor].sort(),
  );
  context.hub.requests.length = 0;
  await downloadPolicy('user/act', { retry: quick });
  expect(context.hub.contentRequests()).toEqual([]);
  const other = await downloadPolicy('user/act', { retry: quick, revision: 'v1' });
  expect(other).toBe(`${folder}@v1`);
});

test('shards, and the files of an older revision go', async () => {
  publish({
    'config.json': '{}',
    'model.safetensors.index.json': '{}',
    'model-00001-of-00002.safetensors': 'a',
    'model-00002-of-00002.safetensors': 'b',
  });
  const folder = await downloadPolicy('user/act', { retry: quick });
  expect(existsSync(join(folder, 'model-00002-of-00002.safetensors'))).toBe(true);
  context.hub.commitFiles(
    id,
    new Map(Object.entries(single).map(([path, text]) => [path, Buffer.from(text)])),
  );
  await downloadPolicy('user/act', { retry: quick });
  expect(existsSync(join(folder, 'model.safetensors.index.json'))).toBe(false);
  expect(existsSync(join(folder, 'model.safetensors'))).toBe(true);
});

test('a checkpoint that was uploaded whole', async () => {
  publish({
    'pretrained_model/config.json': '{}',
    'pretrained_model/model.safetensors': 'w',
    'training_state/x.json': '',
  });
  const folder = await downloadPolicy('user/act', { retry: quick });
  expect(findPolicyDir(folder)).toBe(join(folder, 'pretrained_model'));
  expect(existsSync(join(folder, 'training_state'))).toBe(false);
});

test.each([
  [{ 'README.md': '' }, 'has no config.json'],
  [{ 'config.json': '{}', 'pytorch_model.bin': '' }, 'has a config.json and no model.safetensors'],
])('what is no policy: %j', async (files, reason) => {
  publish(files as unknown as Record<string, string>);
  await expect(downloadPolicy('user/act', { retry: quick })).rejects.toMatchObject({
    code: 'HUB_NOT_A_POLICY',
    message: expect.stringContaining(reason),
  });
});

test('offline or unreachable, a complete copy is used', async () => {
  publish(single);
  vi.stubEnv('HF_HUB_OFFLINE', 'true');
  await expect(downloadPolicy('user/act')).rejects.toMatchObject({ code: 'HUB_OFFLINE' });
  const folder = await downloadPolicy('user/act', { offline: false, retry: quick });
  expect(await downloadPolicy('user/act')).toBe(folder);
  const gone = await FakeHub.start();
  await gone.stop();
  const warnings: string[] = [];
  const onWarning = (message: string) => warnings.push(message);
  await downloadPolicy('user/act', { offline: false, hubUrl: gone.url, retry: quick, onWarning });
  expect(warnings).toEqual([expect.stringContaining('is used as it is')]);
  writeFileSync(join(folder, '.cache/craft/hub.json'), '');
  await expect(downloadPolicy('user/act')).rejects.toMatchObject({ code: 'HUB_OFFLINE' });
});

test("a policy's own FAST tokeniser comes with it", async () => {
  publish({ ...single, 'fast_tokenizer/tokenizer.json': '{}', 'fast_tokenizer/processor_config.json': '{}' });
  const folder = await downloadPolicy('user/act', { retry: quick });
  expect(existsSync(join(folder, 'fast_tokenizer/tokenizer.json'))).toBe(true);
  expect(existsSync(join(folder, 'training_state'))).toBe(false);
});
