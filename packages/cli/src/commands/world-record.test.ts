import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { testFolder } from '../../../training/test/training.js';
import { craft } from '../../test/craft.js';

const folder = testFolder();
beforeEach(() => void vi.stubEnv('HF_LEROBOT_HOME', join(folder, 'home', 'lerobot')));
afterEach(() => vi.unstubAllEnvs());

const record = (...flags: string[]) =>
  craft(['world', 'record', '--episodes=1', '--num_workers=0', ...flags]);

it.each(['../../escape', '/escape', 'a/../../escape', 'me/..', 'escape'])(
  'the name %s leads to no folder',
  async (name) => {
    expect(await record('--task=press-button', `--repo_id=${name}`)).toEqual({
      code: 2,
      out: '',
      err: `craft: error: repo_id=${name}: expected user/name, or --root=FOLDER too\n`,
    });
    expect(readdirSync(folder)).not.toContain('escape');
  },
);

it('a name is enough, and a folder does with any', async () => {
  expect(await record('--task=press-button', '--repo_id=me/button')).toMatchObject({ code: 0 });
  expect(existsSync(join(folder, 'home/lerobot/me/button/meta/info.json'))).toBe(true);
  const root = join(folder, 'own');
  expect(await record('--task=press-button', '--repo_id=../x', `--root=${root}`)).toMatchObject({ code: 0 });
  expect(existsSync(join(root, 'meta/info.json'))).toBe(true);
});

it('a folder that cannot be made, and a task asked for twice, are one line', async () => {
  const file = join(folder, 'file');
  writeFileSync(file, '');
  const below = await record('--task=press-button', '--repo_id=me/x', `--root=${file}/x`);
  expect(below).toMatchObject({ code: 1, out: '' });
  expect(below.err).toMatch(/^craft: error: .*file\/x\/.* cannot be .*$/m);
  expect(below.err).not.toMatch(/^ +at /m);
  const twice = await record('--task=lift,lift', '--repo_id=me/x');
  expect(twice).toMatchObject({
    code: 2,
    err: expect.stringContaining('task=lift,lift: expected lift once'),
  });
});
