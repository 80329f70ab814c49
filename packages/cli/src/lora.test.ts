import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readPolicyConfig } from '@craft-ft/policies';
import { safetensors } from '@craft-ft/torch';
import { beforeAll, expect, test } from 'vitest';
import { filesOf, makeTask, readJson, testFolder } from '../../training/test/training.js';
import { craft } from '../test/craft.js';
import { checkpoint, craftFlags, evalLoss, flags, train } from '../test/runs.js';

const folder = testFolder();
const data = makeTask(join(folder, 'first'));
const next = makeTask(join(folder, 'second'), { turn: 90, seed: 7, lengths: [5, 9] });
const base = join(folder, 'base');
const model = (run: string, step: number) => join(checkpoint(run, step), 'pretrained_model');

const tune = (run: string, ...more: string[]): string[] => [
  `--policy.path=${base}`,
  ...flags(next, run).filter((flag) => !flag.startsWith('--policy.')),
  '--optimizer.lr=0.01',
  ...more,
];
const LORA = [
  '--peft.method_type=LORA',
  '--peft.r=4',
  '--peft.lora_alpha=8',
  "--peft.target_modules=['linear1','linear2']",
];

beforeAll(async () => {
  expect(await train(flags(data, base))).toMatchObject({ code: 0 });
});

test('adapters are trained, saved as PEFT does, resumed exactly, and merged', async () => {
  const [straight, stopped] = [join(folder, 'straight'), join(folder, 'stopped')];
  const before = filesOf(base);
  const craftToo = craftFlags(data);
  expect(await train(tune(straight, ...LORA, '--peft.lora_dropout=0.1', ...craftToo))).toMatchObject({
    code: 0,
  });
  expect(
    await train(tune(stopped, ...LORA, '--peft.lora_dropout=0.1', ...craftToo, '--steps=10')),
  ).toMatchObject({
    code: 0,
  });
  expect(await train(['--resume', stopped, '--steps=20'])).toMatchObject({ code: 0 });
  const adapters = (run: string) => readFileSync(join(model(run, 20), 'adapter_model.safetensors'));
  expect(adapters(stopped).equals(adapters(straight))).toBe(true);
  expect(existsSync(join(model(straight, 20), 'model.safetensors'))).toBe(false);
  expect(filesOf(base)).toEqual(before);
  expect(readJson(model(straight, 20), 'train_config.json')).toMatchObject({
    peft: { r: 4, lora_alpha: 8, target_modules: ['linear1', 'linear2'], lora_dropout: 0.1 },
    policy: { use_peft: true },
  });
  expect(readPolicyConfig(straight).config.use_peft).toBe(true);

  const merged = join(folder, 'merged');
  const ran = await craft(['export', `--policy.path=${straight}`, `--output_dir=${merged}`]);
  expect(ran).toEqual({
    code: 0,
    err: '',
    out: `${merged}: act, the adapters of 6 layers merged into the weights\n`,
  });
  expect(await evalLoss(merged, next)).toBeCloseTo(await evalLoss(straight, next), 5);
  expect(await evalLoss(straight, next)).not.toBeCloseTo(await evalLoss(base, next), 3);
  const names = (at: string) => [...safetensors.loadFile(join(at, 'model.safetensors')).keys()];
  expect(names(merged)).toEqual(names(model(base, 20)));
  expect(readPolicyConfig(merged).config).toMatchObject({ use_peft: false, pretrained_path: null });
  const again = await craft(['export', `--policy.path=${straight}`, `--output_dir=${merged}`]);
  expect(again.err).toMatch(/is not empty/);
});

test('a run without PEFT flags goes on with the adapters of its policy', async () => {
  const [first, second] = [join(folder, 'one'), join(folder, 'two')];
  expect(await train(tune(first, ...LORA, '--steps=1'))).toMatchObject({ code: 0 });
  const more = flags(next, second, '--steps=1').filter((flag) => !flag.startsWith('--policy.'));
  expect(await train([`--policy.path=${first}`, ...more])).toMatchObject({ code: 0 });
  expect(readJson(model(second, 1), 'adapter_config.json')).toMatchObject({
    r: 4,
    base_model_name_or_path: model(base, 20),
  });
  const both = await train([
    `--policy.path=${first}`,
    ...more.slice(0, 2),
    `--output_dir=${folder}/three`,
    ...LORA,
  ]);
  expect(both).toMatchObject({ code: 1 });
  expect(both.err).toMatch(/holds LoRA adapters: leave out --peft/);
});

test.each([
  [['--peft.r=0'], /peft\.r/],
  [['--peft.method_type=MISS'], /peft\.method_type.*LORA/],
  [['--peft.r=4'], /act has no default/],
  [['--peft.rank=4'], /--peft\.rank.*--peft\.r/],
  [[...LORA, '--peft.target_modules=q_proj'], /matches no layer; linear layers end in/],
])('%j is refused', async (more, message) => {
  const { code, err } = await train(tune(join(folder, 'refused'), ...more));
  expect(code).toBeGreaterThan(0);
  expect(err).toMatch(message);
});

test('adapters need a policy to change', async () => {
  const { err } = await train(flags(next, join(folder, 'new'), ...LORA));
  expect(err).toMatch(/policy\.pretrained_path.*--policy\.path/);
});

test('use_peft alone asks for adapters that are not there', async () => {
  const { err } = await train(tune(join(folder, 'flag'), '--policy.use_peft=true'));
  expect(err).toMatch(/holds no LoRA adapters: for new ones give --peft\.method_type=LORA/);
});
