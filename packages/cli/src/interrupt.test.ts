import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { filesOf, makeTask, metricsOf, readJson, testFolder } from '../../training/test/training.js';
import { checkpoint, craftFlags, flags, train, trainUntil } from '../test/runs.js';

const folder = testFolder();
const data = makeTask(join(folder, 'data'));

test('Ctrl-C finishes the step, saves, and says how to go on', async () => {
  const run = join(folder, 'run');
  const { code, out, err } = await trainUntil('step:3 ', flags(data, run));
  expect(code).toBe(130);
  expect(out).toContain('stopping after this step; Ctrl-C again to stop at once');
  expect(err).toBe(`craft: interrupted at step 3 of 20; continue with craft train --resume ${run}\n`);
  expect(readJson(checkpoint(run, 3), 'training_state/training_step.json')).toMatchObject({ step: 3 });
  expect(metricsOf(run).map(({ step }) => step)).toEqual([3]);
  expect(await train(['--resume', run])).toMatchObject({ code: 0 });
});

test('without checkpoints nothing is saved, and said so', async () => {
  const run = join(folder, 'unsaved');
  const { code, err } = await trainUntil('step:3 ', flags(data, run, '--save_checkpoint=false'));
  expect(code).toBe(130);
  expect(err).toContain('nothing was saved (save_checkpoint=false)');
  expect(existsSync(join(run, 'checkpoints'))).toBe(false);
});

test('before the first step nothing was done, and said so', async () => {
  const argv = flags(data, join(folder, 'early'), ...craftFlags(data));
  const { code, err } = await trainUntil('before the first step', argv);
  expect(code).toBe(130);
  expect(err).toContain('craft: interrupted at step 0 of 20; no step was done\n');
});

test('Ctrl-C at the last step: the run is complete', async () => {
  const { code } = await trainUntil('saved', flags(data, join(folder, 'last'), '--save_freq=0'));
  expect(code).toBe(0);
});

test('no listener is left behind', async () => {
  const before = process.listenerCount('SIGINT');
  await train(flags(data, join(folder, 'quiet'), '--steps=1'));
  expect(process.listenerCount('SIGINT')).toBe(before);
});

const bin = fileURLToPath(new URL('../bin/craft.js', import.meta.url));

/** Sends SIGINT as soon as a line with `text` is printed. */
async function interrupted(child: ChildProcess, text: string): Promise<{ code: number | null; out: string }> {
  let out = '';
  child.stdout!.on('data', (chunk: Buffer) => {
    const seen = out.includes(text);
    out += chunk.toString();
    if (!seen && out.includes(text)) child.kill('SIGINT');
  });
  child.stderr!.on('data', (chunk: Buffer) => {
    out += chunk.toString();
  });
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, out };
}

// Needs `npm run build`, which set-up does.
test('the command as a process: SIGINT, exit code 130, then resumed to the same end', async () => {
  const run = join(folder, 'process');
  const argv = flags(data, run, '--steps=400', '--log_freq=10', '--save_freq=0', '--policy.use_vae=false');
  const child = spawn(process.execPath, [bin, 'train', ...argv], {
    env: { ...process.env, OMP_NUM_THREADS: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const { code, out } = await interrupted(child, 'step:10 ');
  expect({ code, out }).toMatchObject({
    code: 130,
    out: expect.stringMatching(/interrupted at step \d+ of 400/),
  });
  const step = Number(/interrupted at step (\d+)/.exec(out)![1]);
  expect(step).toBeGreaterThanOrEqual(10);
  expect(step).toBeLessThan(400);
  expect(filesOf(checkpoint(run, step)).has('pretrained_model/model.safetensors')).toBe(true);
  expect(await train(['--resume', run])).toMatchObject({ code: 0, err: '' });
  expect(metricsOf(run).map((record) => record.step)).toEqual(
    Array.from({ length: 40 }, (_, i) => 10 * (i + 1)),
  );
});
