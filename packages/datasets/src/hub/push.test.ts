import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { FastTokenizer } from '../../../policies/src/pi0_fast/fast/tokenizer.js';
import { makeDataset, makeV21Dataset } from '../../test/datasets.js';
import { quick, withFakeHub } from '../../test/hub.js';
import { LeRobotDataset } from '../dataset/dataset.js';
import { downloadDataset } from './download-dataset.js';
import { downloadTokenizer } from './download-model.js';
import { type PushOptions, pushFolder } from './push.js';

const context = withFakeHub();
const id = 'datasets/user/set';

beforeEach(() => {
  context.hub.tokens.set('hf_writer', 'write').set('hf_reader', 'read');
  vi.stubEnv('HF_TOKEN', 'hf_writer');
});

function push(folder: string, options: Partial<PushOptions> = {}) {
  return pushFolder({ folder, repoId: 'user/set', type: 'dataset', retry: quick, ...options });
}

describe('a dataset', () => {
  test('goes there and comes back, with a card and its version as a tag', async () => {
    const folder = await makeDataset([3, 4]);
    mkdirSync(join(folder, 'images/cam'), { recursive: true });
    writeFileSync(join(folder, 'images/cam/0.png'), 'temporary');
    writeFileSync(join(folder, '.hidden'), '');
    const seen: string[] = [];
    const result = await push(folder, { onProgress: (progress) => seen.push(progress.phase) });
    expect(result).toMatchObject({ url: `${context.hub.url}/${id}`, tag: 'v3.0' });
    const there = context.hub.files(id, 'v3.0');
    expect([...there.keys()].sort()).toEqual(result.files);
    expect(result.files).toEqual([
      'README.md',
      'data/chunk-000/file-000.parquet',
      'meta/episodes/chunk-000/file-000.parquet',
      'meta/info.json',
      'meta/stats.json',
      'meta/tasks.parquet',
    ]);
    expect(seen).toContain('committing');
    const card = String(there.get('README.md'));
    expect(card).toMatch(
      /^---\ntask_categories:\n- robotics\ntags:\n- LeRobot\nconfigs:\n- config_name: default\n {2}data_files: data\/\*\/\*\.parquet\n---\n/,
    );
    expect(card).toContain('"codebase_version": "v3.0"');
    const root = await downloadDataset({ repoId: 'user/set', retry: quick });
    for (const path of result.files.slice(1)) {
      expect(readFileSync(join(root, path)).equals(readFileSync(join(folder, path)))).toBe(true);
    }
    expect((await LeRobotDataset.open({ root })).length).toBe(7);
  });

  test('again: one commit more, the tag moves, a card on the Hub stays', async () => {
    await push(makeV21Dataset([3]), { onWarning: () => {} });
    expect(context.hub.files(id, 'v2.1').has('meta/episodes.jsonl')).toBe(true);
    context.hub.commitFiles(id, new Map([...context.hub.files(id), ['README.md', Buffer.from('edited')]]));
    const next = makeV21Dataset([3, 4]);
    const result = await push(next, { onWarning: () => {}, message: 'More' });
    expect(result.files).not.toContain('README.md');
    const there = context.hub.files(id, 'v2.1');
    expect(String(there.get('README.md'))).toBe('edited');
    expect(there.has('data/chunk-000/episode_000001.parquet')).toBe(true);
  });

  test('on a branch, private, with a tag of its own', async () => {
    await push(await makeDataset([2]), { private: true, revision: 'trial', tag: 'first' });
    expect(context.hub.isPrivate(id)).toBe(true);
    expect(context.hub.files(id, 'first')).toBe(context.hub.files(id, 'trial'));
    expect(context.hub.files(id, 'main').size).toBe(0);
  });

  test('must be whole; videos may be missing with a warning', async () => {
    const folder = makeV21Dataset([3, 4], [0]);
    const warnings: string[] = [];
    const onWarning = (message: string) => warnings.push(message);
    await expect(push(folder, { onWarning })).rejects.toMatchObject({
      code: 'DATASET_FILE_MISSING',
      message: expect.stringContaining('episode_000001.parquet'),
    });
    expect(context.hub.requests).toEqual([]);
    await push(makeV21Dataset([3]), { onWarning });
    expect(warnings).toEqual([expect.stringContaining('1 of 1 videos are missing')]);
  });

  test('without a token, with one that may not write, offline', async () => {
    const folder = await makeDataset([2]);
    await expect(push(folder, { token: 'hf_reader' })).rejects.toMatchObject({
      code: 'HUB_TOKEN',
      message: expect.stringContaining('lacks permission'),
    });
    vi.stubEnv('HF_TOKEN', '');
    await expect(push(folder)).rejects.toMatchObject({
      code: 'HUB_TOKEN',
      message: expect.stringContaining('write permission'),
    });
    await expect(push(folder, { offline: true })).rejects.toMatchObject({ code: 'HUB_OFFLINE' });
  });
});

test('a policy, from its run, with what is known of its training on the card', async () => {
  const run = mkdtempSync(join(tmpdir(), 'craft-push-'));
  const folder = join(run, 'checkpoints/last/pretrained_model');
  mkdirSync(folder, { recursive: true });
  const write = (name: string, value: unknown) => writeFileSync(join(folder, name), JSON.stringify(value));
  write('config.json', { type: 'act', license: 'apache-2.0', tags: ['so101', 'yes'] });
  write('train_config.json', { dataset: { repo_id: 'user/set' }, steps: 100, batch_size: 8, seed: 1000 });
  write('craft_config.json', { enabled: true, initial_lambda: 1.5, anchor_dataset_path: 'user/old|task' });
  writeFileSync(join(folder, 'model.safetensors'), 'weights');
  const result = await push(run, { type: 'model', repoId: 'user/act' });
  rmSync(run, { recursive: true });
  expect(result).toMatchObject({ url: `${context.hub.url}/user/act`, tag: null });
  const card = String(context.hub.files('models/user/act').get('README.md'));
  const front = card.split('---\n')[1]!;
  expect(front).toContain(
    'library_name: lerobot\npipeline_tag: robotics\nmodel_name: act\nlicense: apache-2.0\ndatasets:\n- user/set\ntags:\n',
  );
  expect(front).toMatch(/- act\n- craft\n- lerobot\n- robotics\n- so101\n- "yes"\n$/);
  expect(card).toContain('| dataset | user/set |\n| steps | 100 |\n| batch_size | 8 |');
  expect(card).toContain('| initial_lambda | 1.5 |\n| anchor_dataset_path | user/old\\|task |');
});

test('a tokenizer comes back as it was', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'craft-push-'));
  const chunks = [Array.from({ length: 20 }, (_, i) => Math.sin(i))];
  const trained = FastTokenizer.fit(chunks, [10, 2], { vocabSize: 60 });
  trained.save(folder, { repo_id: 'user/set', action_horizon: 10 });
  const result = await push(folder, { type: 'tokenizer', repoId: 'user/fast' });
  expect(result).toMatchObject({ url: `${context.hub.url}/user/fast`, tag: null });
  const card = String(context.hub.files('models/user/fast').get('README.md'));
  expect(card).toContain('datasets:\n- user/set\n');
  expect(card).toContain('| scale | 10 |');
  expect(card).toContain('--policy.action_tokenizer_name=user/fast');
  const back = FastTokenizer.loadSync(await downloadTokenizer('user/fast', { retry: quick }));
  expect(back.encode(chunks[0]!, [10, 2])).toEqual(trained.encode(chunks[0]!, [10, 2]));

  rmSync(join(folder, 'processor_config.json'));
  await expect(push(folder, { type: 'tokenizer' })).rejects.toMatchObject({
    code: 'TOKENIZER_NOT_FOUND',
    message: `${join(folder, 'processor_config.json')}: no such file; expected a folder that craft tokenizer train wrote`,
  });
  rmSync(folder, { recursive: true });
});
