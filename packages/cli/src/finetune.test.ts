import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readPolicyConfig } from '@craft-ft/policies';
import { safetensors } from '@craft-ft/torch';
import { beforeAll, expect, test } from 'vitest';
import { filesOf, makeTask, readJson, testFolder } from '../../training/test/training.js';
import { checkpoint, evalLoss, flags, train } from '../test/runs.js';

const folder = testFolder();
const data = makeTask(join(folder, 'first'));
// Different statistics: other points, and rotated actions.
const next = makeTask(join(folder, 'second'), { turn: 90, seed: 7, lengths: [5, 9] });
const base = join(folder, 'base');
const STATS = [
  'pretrained_model/policy_preprocessor_step_3_normalizer_processor.safetensors',
  'pretrained_model/policy_postprocessor_step_0_unnormalizer_processor.safetensors',
];

const tune = (run: string, ...more: string[]): string[] => [
  `--policy.path=${base}`,
  ...flags(next, run).filter((flag) => !flag.startsWith('--policy.')),
  ...more,
];

beforeAll(async () => {
  expect(await train(flags(data, base))).toMatchObject({ code: 0 });
});

test('keeps the weights, the configuration and the normalisation of the checkpoint', async () => {
  const run = join(folder, 'tuned');
  const before = filesOf(base);
  const ran = await train(tune(run, '--optimizer.lr=0', '--steps=1'));
  expect(ran).toMatchObject({ code: 0 });
  const model = 'pretrained_model/model.safetensors';
  const bytes = (at: string, file: string) => readFileSync(join(at, file));
  // A learning rate of 0 leaves the loaded weights unchanged.
  expect(bytes(checkpoint(run, 1), model).equals(bytes(checkpoint(base, 20), model))).toBe(true);
  for (const file of STATS)
    expect(bytes(checkpoint(run, 1), file).equals(bytes(checkpoint(base, 20), file))).toBe(true);
  expect(await evalLoss(run, data)).toBe(await evalLoss(base, data));
  const { config } = readPolicyConfig(run);
  expect(config).toMatchObject({
    chunk_size: 4,
    dim_model: 16,
    pretrained_path: join(checkpoint(base, 20), 'pretrained_model'),
  });
  expect(filesOf(base)).toEqual(before);
});

test('begins anew otherwise: step, optimiser, order of the data', async () => {
  const run = join(folder, 'anew');
  expect(await train(tune(run, '--steps=2'))).toMatchObject({ code: 0 });
  expect(readJson(checkpoint(run, 2), 'training_state/training_step.json')).toMatchObject({ step: 2 });
  const state = safetensors.loadFile(join(checkpoint(run, 2), 'training_state/optimizer_state.safetensors'));
  expect(state.get('state/0/step')!.item()).toBe(2);
});

test('flags override the configuration of the checkpoint, and nothing else fits', async () => {
  const run = join(folder, 'overridden');
  const more = ['--steps=1', '--policy.n_action_steps=2', '--policy.dropout=0.3'];
  expect(await train(tune(run, ...more))).toMatchObject({ code: 0 });
  expect(readPolicyConfig(run).config).toMatchObject({ n_action_steps: 2, dropout: 0.3, chunk_size: 4 });
  const wider = await train(tune(join(folder, 'wider'), '--policy.dim_feedforward=64'));
  expect(wider.code).toBe(1);
  expect(wider.err).toMatch(
    /model\.safetensors does not fit the model.*dim_feedforward.*: \d+ misshaped \(model\.vae_encoder/,
  );
  expect(wider.err.trim().split('\n')).toHaveLength(1);
});

test('statistics of the new data where that is asked for', async () => {
  const run = join(folder, 'restandardised');
  const more = ['--steps=1', '--normalization_stats=dataset'];
  expect(await train(tune(run, ...more))).toMatchObject({ code: 0 });
  const mean = (at: string) => safetensors.loadFile(join(at, STATS[0]!)).get('action.mean')!.tolist();
  expect(mean(checkpoint(run, 1))).not.toEqual(mean(checkpoint(base, 20)));
  // The resumed run keeps them.
  expect(await train(['--resume', run, '--steps=2'])).toMatchObject({ code: 0 });
  expect(mean(checkpoint(run, 2))).toEqual(mean(checkpoint(run, 1)));
});

test('a fine-tuned run is resumed with its own weights, not those it started from', async () => {
  const [straight, stopped] = [join(folder, 'straight'), join(folder, 'stopped')];
  expect(await train(tune(straight))).toMatchObject({ code: 0 });
  expect(await train(tune(stopped, '--steps=10'))).toMatchObject({ code: 0 });
  const { code, err } = await train(['--resume', stopped, '--steps=20']);
  expect(code).toBe(0);
  // With a constant learning rate nothing depends on the length of the run.
  expect(err).toBe('');
  const model = (run: string) => filesOf(checkpoint(run, 20)).get('pretrained_model/model.safetensors');
  expect(model(stopped)).toBe(model(straight));
});
