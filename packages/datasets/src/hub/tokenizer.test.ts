import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fetchTokenizer, tokenizerFolder } from '../../../policies/src/tokenizers/locate.js';
import { quick, withFakeHub } from '../../test/hub.js';
import { downloadTokenizer } from './download-model.js';

const context = withFakeHub();
const id = 'models/google/paligemma';

function publish(files: Record<string, string>): void {
  context.hub.addRepo(id);
  const content = Object.entries(files).map(([path, text]): [string, Buffer] => [path, Buffer.from(text)]);
  context.hub.commitFiles(id, new Map(content));
}

test('only the tokeniser of a model is fetched, and only once', async () => {
  publish({
    'tokenizer.json': '{"model": {}}',
    'tokenizer_config.json': '{}',
    'config.json': '{}',
    'model-00001-of-00003.safetensors': 'large',
    'README.md': 'card',
  });
  await fetchTokenizer('google/paligemma', { retry: quick });
  const folder = join(context.home, 'craft/tokenizers/google/paligemma');
  expect(tokenizerFolder('google/paligemma')).toBe(folder);
  expect(context.hub.contentRequests().sort()).toEqual(['tokenizer.json', 'tokenizer_config.json']);
  expect(existsSync(join(folder, 'model-00001-of-00003.safetensors'))).toBe(false);
  context.hub.requests.length = 0;
  await fetchTokenizer('google/paligemma', { retry: quick });
  await fetchTokenizer('builtin:bytes');
  await fetchTokenizer('./a/folder');
  expect(context.hub.requests).toEqual([]);
});

test('a repository without one', async () => {
  publish({ 'config.json': '{}', 'model.safetensors': 'weights' });
  await expect(downloadTokenizer('google/paligemma', { retry: quick })).rejects.toMatchObject({
    code: 'HUB_NOT_A_TOKENIZER',
  });
});
