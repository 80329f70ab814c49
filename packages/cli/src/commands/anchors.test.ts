import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import { localDataset, makeTeacher } from '../../../craft/test/anchors.js';
import { makeTask, testFolder } from '../../../training/test/training.js';
import { craft } from '../../test/craft.js';
import { flags, train } from '../../test/runs.js';

const anchors = (...argv: string[]) => craft(['anchors', ...argv]);
let root = '';
let old = '';

beforeAll(async () => {
  root = testFolder();
  old = makeTask(join(root, 'old'), { lengths: [9, 8] });
  await makeTeacher(join(root, 'teacher'), old);
});

const build = (name: string, ...more: string[]) =>
  anchors(
    'build',
    `--policy.path=${join(root, 'teacher')}`,
    '--dataset.repo_id=test/old',
    `--dataset.root=${localDataset(old).choice.root}`,
    `--output_dir=${join(root, name)}`,
    ...more,
  );

it('builds, shows and trains with a cache, without the old dataset', async () => {
  const built = await build(
    'cache',
    '--kinds=task,hidden',
    '--num_anchors=12',
    '--selection=kmeans',
    '--layers=-2,-1',
  );
  expect(built).toMatchObject({ code: 0 });
  expect(built.err).toContain('samples: 12 of 12');
  expect(built.out).toMatch(/12 samples of task, hidden, [\d.]+ kB/);
  expect(built.out).toContain('hidden layers -2, -1, mean_masked, 16 wide, float16');
  expect(built.out).toContain('12 of 17 frames (70.6 %), 2 of 2 episodes');
  expect(built.out).toMatch(/kmeans, among 17 frames, seed 0, furthest frame 0\.\d\d from an anchor/);
  const info = await anchors('info', join(root, 'cache'), '--json', '--verify');
  expect(info.code).toBe(0);
  expect(JSON.parse(info.out)).toMatchObject({ samples: 12, tasks: { 'turn 0': 12 }, damaged: [] });
  const task = makeTask(join(root, 'new'), { turn: 90 });
  for (const mode of ['loss', 'hidden']) {
    const run = await train(
      flags(
        task,
        join(root, `run-${mode}`),
        `--policy.path=${join(root, 'teacher')}`,
        '--steps=4',
        '--save_freq=4',
      )
        .filter((flag) => !/^--policy\.(?!path)/.test(flag))
        .concat(
          '--craft.enabled=true',
          `--craft.anchor_cache_dir=${join(root, 'cache')}`,
          '--craft.retention_freq=2',
          '--craft.anchor_batch_size=4',
          `--craft.retention_mode=${mode}`,
        ),
    );
    expect(run).toMatchObject({ code: 0 });
  }
  const again = await build(
    'cache',
    '--kinds=task,hidden',
    '--num_anchors=12',
    '--selection=kmeans',
    '--layers=[-2,-1]',
  );
  expect(again.code).toBe(0);
  const other = await build('cache', '--kinds=task');
  expect(other).toMatchObject({ code: 1, err: expect.stringContaining('--overwrite') });
});

it('damage is an exit code; so are wrong flags', async () => {
  await build('damaged', '--num_anchors=5');
  writeFileSync(join(root, 'damaged', 'shard_00000.safetensors'), 'x');
  expect(await anchors('info', join(root, 'damaged'))).toMatchObject({
    code: 1,
    err: expect.stringContaining('shard_00000.safetensors: damaged'),
  });
  expect(await build('x', '--kinds=hiden')).toMatchObject({ code: 2 });
  expect(await anchors('bild')).toMatchObject({
    code: 2,
    err: expect.stringContaining('did you mean build?'),
  });
  expect(await anchors('info')).toMatchObject({ code: 2 });
  for (const name of ['build', 'info', 'import']) {
    const help = await anchors(name, '--help');
    expect(help).toMatchObject({ code: 0, out: expect.stringContaining(`Usage: craft anchors ${name}`) });
    expect(help.out.split('\n').filter((line) => line.length > 100)).toEqual([]);
  }
});

it('imports caches of the Python project', async () => {
  const from = fileURLToPath(
    new URL('../../../python-caches/test/fixtures/python-cache/hidden', import.meta.url),
  );
  const output = join(root, 'imported');
  const { code, out, err } = await anchors('import', from, `--output_dir=${output}`);
  expect(code).toBe(0);
  expect(err).toContain('padding token');
  expect(out).toContain('5 samples of hidden');
  expect(out).toContain('preprocessed');
  expect(existsSync(join(output, 'metadata.json'))).toBe(true);
});
