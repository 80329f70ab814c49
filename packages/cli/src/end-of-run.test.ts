import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { makeTask, testFolder } from '../../training/test/training.js';
import { craftFlags, flags, train, trainUntil } from '../test/runs.js';

const folder = testFolder();
const task = makeTask(join(folder, 'task'), { turn: 90 });
const old = makeTask(join(folder, 'old'));

const pageOf = (run: string) => readFileSync(join(run, 'report.html'), 'utf8');

test('a CRaFT run ends with its losses, what the method says, its time and its page', async () => {
  const run = join(folder, 'craft');
  const { code, out } = await train(flags(task, run, ...craftFlags(old)));
  expect(code).toBe(0);
  const end = out.slice(out.lastIndexOf('saved '));
  expect(end.match(/^task loss: \d/gm)).toHaveLength(1);
  expect(end).toMatch(/retention loss.*before/);
  expect(end).toMatch(/^20 steps in .* per step, .* % of it waiting for data$/m);
  expect(end.trimEnd().split('\n').at(-1)).toBe(`report: ${join(run, 'report.html')}`);
  const page = pageOf(run);
  expect(page).toContain('Retention loss and ε');
  expect(page).toContain('craft.anchor_dataset_path');
  // What was printed is on the page too.
  expect(page).toMatch(/<li>retention loss/);
});

test('plain fine-tuning has a page without the method', async () => {
  const run = join(folder, 'plain');
  const { out } = await train(flags(task, run, '--save_checkpoint=false'));
  expect(out).toMatch(/^task loss: \d.*\(steps 1 to \d+\) at the start, .* at the end$/m);
  expect(out).toContain(`report: ${join(run, 'report.html')}`);
  expect(pageOf(run)).not.toContain('craft.');
  expect(pageOf(run)).toContain('dataset.repo_id');
});

test('an interrupted run has a page that says so; the resumed one replaces it', async () => {
  const run = join(folder, 'interrupted');
  await trainUntil('step:3 ', flags(task, run, ...craftFlags(old)));
  expect(pageOf(run)).toContain('Not finished: step 3 of 20.');
  await train(['--resume', run]);
  expect(pageOf(run)).not.toContain('Not finished');
});

test('a run that fails leaves the page of what it has logged', async () => {
  const run = join(folder, 'nan');
  const { code, out } = await train(flags(task, run, '--optimizer.lr=1e30', '--log_freq=1'));
  expect(code).toBe(1);
  if (existsSync(join(run, 'metrics.jsonl'))) expect(out).toContain('report: ');
});

test('a page that cannot be written is said, and the run is done', async () => {
  const run = join(folder, 'blocked');
  const { code, out } = await train(flags(task, run), (line) => {
    // A folder of that name cannot be replaced by a file.
    if (line.includes('step:3 ')) mkdirSync(join(run, 'report.html', 'x'), { recursive: true });
  });
  expect(code).toBe(0);
  expect(out).toContain('the report was not written: ');
});
