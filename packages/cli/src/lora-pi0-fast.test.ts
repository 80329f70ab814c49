import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { smallFast } from '../../policies/test/tokenizers.js';
import { makeTask, readJson, testFolder } from '../../training/test/training.js';
import { craft } from '../test/craft.js';
import { checkpoint, flags, train } from '../test/runs.js';

const folder = testFolder();

test('pi0_fast: adapters are trained, resumed exactly, merged, and judged', async () => {
  const data = makeTask(join(folder, 'data'), { lengths: [5, 5] });
  const base = join(folder, 'base');
  const { folder: fast } = smallFast(4, 2);
  const run = (output: string, ...more: string[]) =>
    flags(data, output, '--batch_size=2', ...more).filter((flag) => !flag.startsWith('--policy.'));
  const made = await train([
    ...run(base, '--steps=1'),
    '--policy.type=pi0_fast',
    '--policy.device=cpu',
    '--policy.paligemma_variant=gemma_tiny',
    '--policy.text_tokenizer_name=builtin:bytes',
    `--policy.action_tokenizer_name=${fast}`,
    '--policy.chunk_size=4',
    '--policy.n_action_steps=4',
    '--policy.max_action_tokens=40',
    '--policy.tokenizer_max_length=160',
  ]);
  expect(made).toMatchObject({ code: 0 });
  const lora = [`--policy.path=${base}`, '--peft.r=2', '--optimizer.lr=0.01', '--save_freq=1'];
  const [straight, stopped] = [join(folder, 'straight'), join(folder, 'stopped')];
  const straightRun = await train([...run(straight, '--steps=2'), ...lora]);
  expect(straightRun).toMatchObject({ code: 0 });
  expect(straightRun.out).toContain(
    `pi0_fast with ${4 * 2 * 2 * (128 + 128) - 4 * 2 * (128 - 32)} trainable`,
  );
  expect(await train([...run(stopped, '--steps=1'), ...lora])).toMatchObject({ code: 0 });
  expect(await train(['--resume', stopped, '--steps=2'])).toMatchObject({ code: 0 });
  const model = (at: string) => join(checkpoint(at, 2), 'pretrained_model');
  const adapters = (at: string) => readFileSync(join(model(at), 'adapter_model.safetensors'));
  expect(adapters(stopped).equals(adapters(straight))).toBe(true);
  expect(existsSync(join(model(straight), 'model.safetensors'))).toBe(false);
  expect(readJson(model(straight), 'adapter_config.json')).toMatchObject({ r: 2, lora_alpha: 8 });
  const merged = join(folder, 'merged');
  expect(await craft(['export', `--policy.path=${straight}`, `--output_dir=${merged}`])).toMatchObject({
    code: 0,
  });
  const loss = async (at: string) => {
    const ran = await craft([
      'eval-loss',
      `--policy.path=${at}`,
      '--dataset.repo_id=test/data',
      `--dataset.root=${data}`,
      '--json',
    ]);
    expect(ran).toMatchObject({ code: 0 });
    return JSON.parse(ran.out).loss as number;
  };
  expect(Math.abs((await loss(merged)) - (await loss(straight)))).toBeLessThan(1e-4);
});
