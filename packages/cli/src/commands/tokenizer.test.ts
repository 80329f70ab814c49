import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LeRobotDatasetWriter } from '@craft-ft/datasets';
import { FastTokenizer } from '@craft-ft/policies';
import { expect, it, vi } from 'vitest';
import { makeDataset, temporaryFolder } from '../../../datasets/test/datasets.js';
import { withFakeHub } from '../../../datasets/test/hub.js';
import { craft } from '../../test/craft.js';

const context = withFakeHub();
const tokenizer = (...argv: string[]) => craft(['tokenizer', ...argv]);
const readJson = (path: string) => JSON.parse(readFileSync(path, 'utf8'));

it('lists its commands, and every flag of each', async () => {
  const { code, out } = await tokenizer('--help');
  expect(code).toBe(0);
  for (const name of ['train', 'info']) {
    expect(out).toContain(`  ${name}`);
    const help = await tokenizer(name, '--help');
    expect(help.code).toBe(0);
    expect(help.out).toContain(`Usage: craft tokenizer ${name}`);
    expect(help.out.split('\n').filter((line) => line.length > 100)).toEqual([]);
  }
  expect((await tokenizer('trian')).err).toContain('did you mean train?');
  expect((await tokenizer()).code).toBe(2);
});

it('train writes a tokeniser that loads, and says how well it does; info shows it', async () => {
  const root = makeDataset([30, 25, 4]);
  const folder = temporaryFolder();
  const trained = await tokenizer(
    'train',
    `--root=${root}`,
    '--action_horizon=5',
    '--sample_fraction=0.5',
    '--vocab_size=120',
    `--output_dir=${folder}`,
  );
  expect(trained).toMatchObject({ code: 0, err: '' });
  expect(trained.out).toContain('23 chunks of 5 actions with 2 dimensions, from 2 episodes');
  expect(trained.out).toMatch(/tokens per chunk: [\d.]+ on average, 99 % at most [\d.]+/);
  expect(trained.out).toMatch(/reconstruction: root mean square error 0\.\d+/);
  expect(trained.out).toContain(`--policy.action_tokenizer_name=${folder}`);
  const loaded = FastTokenizer.loadSync(folder);
  expect([loaded.timeHorizon, loaded.actionDim]).toEqual([5, 2]);
  expect(readJson(join(folder, 'metadata.json'))).toMatchObject({
    normalization_mode: 'QUANTILES',
    action_horizon: 5,
    num_training_chunks: 23,
    compression_stats: { mean_token_length: expect.any(Number) },
  });
  const info = await tokenizer('info', folder);
  expect(info.out).toMatch(/^kind +FAST$/m);
  expect(info.out).toMatch(/^encodable +all$/m);
  expect(JSON.parse((await tokenizer('info', folder, '--json')).out)).toMatchObject({ time_horizon: 5 });
  const again = await tokenizer('train', `--root=${root}`, `--output_dir=${folder}`);
  expect(again).toMatchObject({ code: 1, err: expect.stringContaining('is not empty') });
});

it('train uploads what it saved', async () => {
  const root = makeDataset([20]);
  const flags = [`--root=${root}`, '--sample_fraction=1', '--vocab_size=100', '--push_to_hub=true'];
  expect((await tokenizer('train', ...flags)).err).toContain('hub_repo_id=null: expected the name');
  context.hub.tokens.set('hf_writer', 'write');
  vi.stubEnv('HF_TOKEN', 'hf_writer');
  const folder = temporaryFolder();
  const to = [`--output_dir=${folder}`, '--hub_repo_id=user/fast', '--hub_private=true'];
  const { code, out } = await tokenizer('train', ...flags, ...to);
  expect([code, out]).toEqual([0, expect.stringContaining(`${context.hub.url}/user/fast: 6 files`)]);
  expect(context.hub.isPrivate('models/user/fast')).toBe(true);
  expect(String(context.hub.files('models/user/fast').get('tokenizer.json'))).toBe(
    readFileSync(join(folder, 'tokenizer.json'), 'utf8'),
  );
});

it('the same sample each time, chosen dimensions, delta actions, other modes', async () => {
  const root = makeDataset([20, 20]);
  const train = async (...flags: string[]) => {
    const folder = temporaryFolder();
    const { code, out, err } = await tokenizer(
      'train',
      `--root=${root}`,
      '--json',
      `--output_dir=${folder}`,
      ...flags,
    );
    expect([code, err]).toEqual([0, expect.stringContaining('chunks of')]);
    return { ...JSON.parse(out), files: readFileSync(join(folder, 'tokenizer.json'), 'utf8') };
  };
  expect((await train()).files).toBe((await train()).files);
  expect(await train('--encoded_dims=1:2', '--normalization_mode=MEAN_STD')).toMatchObject({ actionDim: 1 });
  const delta = await train('--use_delta_transform=true', '--delta_dims=0,1', '--clip=false');
  expect(delta).toMatchObject({ actionDim: 2, maxToken: expect.any(Number) });
});

it('what cannot be trained on is explained', async () => {
  const root = makeDataset([6, 4]);
  const failing = async (...flags: string[]) => (await tokenizer('train', `--root=${root}`, ...flags)).err;
  expect(await failing('--action_horizon=7')).toContain(
    'action_horizon=7 is longer than every episode, the longest has 6 frames',
  );
  expect(await failing('--action_horizon=3', '--vocab_size=5')).toMatch(
    /vocab_size=5 is too small for coefficients from -?\d+ to \d+; make it larger than/,
  );
  expect(await failing('--encoded_dims=0:3')).toContain('0:3 does not fit the 2 dimensions of "action"');
  expect(await failing('--use_delta_transform=true')).toContain('delta_dims');
  expect(await failing('--use_delta_transform=true', '--delta_dims=5', '--action_horizon=2')).toContain(
    'delta_dims goes to 5',
  );
  expect((await tokenizer('train')).code).toBe(2);
  expect(existsSync('fast_tokenizer_dataset')).toBe(false);
  const silent = temporaryFolder();
  const writer = LeRobotDatasetWriter.create({
    root: silent,
    fps: 10,
    features: { 'observation.state': { dtype: 'float32', shape: [1] } },
  });
  writer.addFrame({ 'observation.state': [0], task: 'wait' });
  writer.saveEpisode();
  writer.finalize();
  expect((await tokenizer('train', `--root=${silent}`)).err).toContain('has no "action"');
});

it('info of text tokenisers and of names that are none', async () => {
  const { out } = await tokenizer('info', 'builtin:bytes', '--json');
  expect(JSON.parse(out)).toMatchObject({ kind: 'text', tokens: 2048, bos: 2 });
  expect(await tokenizer('info', './nowhere')).toMatchObject({
    code: 1,
    err: expect.stringContaining('no such folder'),
  });
});
