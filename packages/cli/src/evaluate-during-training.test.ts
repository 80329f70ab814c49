import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataStream } from '@craft-ft/training';
import { recordDataset } from '@craft-ft/world';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { makeTask } from '../../training/test/training.js';
import { train } from '../test/runs.js';

const folder = mkdtempSync(join(tmpdir(), 'evaluate-'));
afterAll(() => rmSync(folder, { recursive: true }));

const root = join(folder, 'data');
beforeAll(async () => {
  await recordDataset({ tasks: ['press-button'], episodes: 1, root, repoId: 'me/press', workers: 0 });
});

const flags = (run: string, ...more: string[]) => [
  '--policy.type=act',
  '--policy.dim_model=8',
  '--policy.n_heads=1',
  '--policy.dim_feedforward=8',
  '--policy.chunk_size=150',
  '--policy.n_action_steps=150',
  '--dataset.repo_id=me/press',
  `--dataset.root=${root}`,
  `--output_dir=${join(folder, run)}`,
  '--batch_size=2',
  '--log_freq=0',
  ...more,
];
const env = ['--env.type=tabletop', '--env.task=press-button,lift', '--eval.n_episodes=1'];

const weights = (run: string) =>
  readFileSync(join(folder, run, 'checkpoints/last/pretrained_model/model.safetensors'));
const steps = (run: string) =>
  readFileSync(join(folder, run, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
    .map((line) => [line.step, ...Object.keys(line).filter((name) => name.startsWith('pc_success/'))]);

test('evaluation leaves training as it is, and goes on when the run is continued', async () => {
  // With the VAE and dropout, every step draws random numbers.
  expect((await train(flags('without', '--steps=4'))).code).toBe(0);
  const ran = await train(flags('with', '--steps=2', ...env, '--env_eval_freq=1'));
  expect(ran).toMatchObject({ code: 0, err: '' });
  expect(ran.out).toMatch(/step:2 .* press-button:\d+% lift:\d+% /);
  expect((await train(['--resume', join(folder, 'with'), '--steps=4', '--eval_freq=3'])).code).toBe(0);
  expect(weights('with').equals(weights('without'))).toBe(true);
  const both = ['pc_success/press-button', 'pc_success/lift'];
  expect(steps('with')).toEqual([1, 2, 3, 4].map((step) => [step, ...both]));
  expect(steps('without')).toEqual([[4]]);
}, 60_000);

test('what cannot be evaluated is refused before training', async () => {
  const refused = async (...more: string[]) => (await train(flags('refused', '--steps=1', ...more))).err;
  expect(await refused('--env.type=tabletop', '--env.task=lifft')).toContain('did you mean lift?');
  expect(await refused('--env.type=aloha', '--env.task=lift')).toContain('env.type=aloha: expected tabletop');
  const other = makeTask(join(folder, 'other'));
  const close = vi.spyOn(DataStream.prototype, 'close');
  const ran = await train([...flags('refused', '--steps=1', ...env), `--dataset.root=${other}`]);
  expect(ran.err).toContain(
    'the policy does not fit the environment: "observation.state" has shape [6] here',
  );
  // Its worker threads would have kept running otherwise.
  expect(close).toHaveBeenCalledTimes(1);
});
