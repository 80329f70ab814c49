import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { LeRobotDataset } from '@craft-ft/datasets';
import { expect, it } from 'vitest';
import { editJson, makeDataset, temporaryFolder } from '../../../datasets/test/datasets.js';
import { sharedPath } from '../../../torch/test/shared.js';
import { craft } from '../../test/craft.js';

const dataset = (...argv: string[]) => craft(['dataset', ...argv]);

it('lists its commands, and every flag of each', async () => {
  const { code, out } = await dataset('--help');
  expect(code).toBe(0);
  for (const name of ['doctor', 'info', 'stats', 'show', 'convert', 'merge', 'split', 'delete-episodes']) {
    expect(out).toContain(`  ${name}`);
    const help = await dataset(name, '--help');
    expect(help.code).toBe(0);
    expect(help.out).toContain(`Usage: craft dataset ${name} FOLDER`);
    expect(help.out).toContain(name === 'merge' ? '--roots' : '--root');
    expect(help.out.split('\n').filter((line) => line.length > 100)).toEqual([]);
  }
  expect(await dataset('docter')).toMatchObject({
    code: 2,
    err: expect.stringContaining('did you mean doctor?'),
  });
  expect(await dataset('doctor')).toMatchObject({
    code: 2,
    err: expect.stringContaining('folder of a dataset'),
  });
  expect(await dataset('doctor', 'a', 'b')).toMatchObject({
    code: 2,
    err: expect.stringContaining('argument b'),
  });
});

it('doctor: exit code by severity, --fix, --json', async () => {
  const root = makeDataset([4, 3]);
  expect(await dataset('doctor', root)).toEqual({ code: 0, out: 'nothing wrong\n', err: '' });
  editJson(join(root, 'meta/info.json'), (info) => {
    info.total_frames = 9;
  });
  const warned = await dataset('doctor', root, '--json');
  expect(warned.code).toBe(3);
  expect(JSON.parse(warned.out)).toMatchObject({ root, findings: [{ code: 'TOTALS', severity: 'warning' }] });
  const fixed = await dataset('doctor', root, '--fix');
  expect(fixed).toEqual({ code: 0, out: 'nothing wrong\n', err: 'fixed: the totals of meta/info.json\n' });
  rmSync(join(root, 'data/chunk-000/file-000.parquet'));
  const broken = await dataset('doctor', `--root=${root}`);
  expect(broken.code).toBe(1);
  expect(broken.out).toContain('error DATA_MISSING\n  data/chunk-000/file-000.parquet: the file is missing');
  expect(broken.out).toContain('→ download the file again');
  expect(broken.out.endsWith('1 error, 0 warnings, 0 notes\n')).toBe(true);
});

it('convert, split, merge, delete-episodes write datasets that can be read', async () => {
  const root = makeDataset([3, 4, 2]);
  const out = temporaryFolder();
  const split = await dataset('split', root, `--output=${out}`, '--splits={"a": [0, 2], "b": [1]}');
  expect(split).toMatchObject({ code: 0, err: '' });
  expect(split.out).toContain(`${join(out, 'a')}: 2 episodes, 5 frames; 40 numbers compared`);
  const merged = join(out, 'merged');
  expect((await dataset('merge', join(out, 'a'), join(out, 'b'), '--output', merged)).code).toBe(0);
  expect((await dataset('delete-episodes', merged, '--episodes=[0]', `--output=${out}/less`)).code).toBe(0);
  expect((await dataset('convert', merged, `--output=${out}/again`, '--episodes=[2,1]')).code).toBe(0);
  const lengths = async (name: string) =>
    (await LeRobotDataset.open({ root: join(out, name) })).episodes.map(({ start, end }) => end - start);
  expect([await lengths('merged'), await lengths('less'), await lengths('again')]).toEqual([
    [3, 2, 4],
    [2, 4],
    [2, 4],
  ]);
  expect(await dataset('merge', root, `--output=${out}/one`)).toMatchObject({ code: 2 });
  expect(await dataset('convert', join(out, 'nowhere'), `--output=${out}/two`)).toMatchObject({ code: 1 });
});

it('info, stats and show print what the dataset holds', async () => {
  const root = makeDataset([3, 4]);
  const info = await dataset('info', root);
  expect(info.out).toContain('LeRobot v3.0, robot test, 10 fps\n2 episodes, 7 frames, 0.7 s');
  expect(info.out).toMatch(/observation\.state +float32 +\[3\]/);
  expect(JSON.parse((await dataset('info', root, '--json')).out)).toMatchObject({
    frames: 7,
    tasks: { push: 1, pull: 1 },
  });
  expect((await dataset('stats', root, '--episodes=[0]')).out).toMatch(
    /observation\.state\[0\] +0 +2 +1 +0\.816497/,
  );
  editJson(join(root, 'meta/stats.json'), (stats) => {
    stats.action = {};
  });
  expect((await dataset('stats', root, '--recompute')).out).toMatch(/action\[1\] +-1003\.25/);
  expect(existsSync(join(root, 'meta/stats.json.bak'))).toBe(true);
  expect((await dataset('show', root)).out).toMatch(/^episode +frames +seconds[^\n]*\n0 +3 +0\.3 /);
  expect((await dataset('show', root, '--episode=1')).out).toMatch(
    /observation\.state\[x\] +▁▃▆█ +1000 to 1003/,
  );
  expect(await dataset('show', root, '--png=x.png')).toMatchObject({ code: 2 });
  expect(await dataset('show', root, '--episode=1', '--png=x.png')).toMatchObject({ code: 1 });
});

const g1 = sharedPath('data', 'g1_yellow_bottle');
it.skipIf(!existsSync(g1))('show writes a contact sheet', async () => {
  const path = `${temporaryFolder()}.png`;
  const { code, out } = await dataset('show', g1, '--episode=10', `--png=${path}`, '--png_frames=4');
  expect(code).toBe(0);
  expect(out).toContain('640×120, observation.images.cam_high');
  expect(readFileSync(path).subarray(1, 4).toString()).toBe('PNG');
});
