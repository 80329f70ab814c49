import { expect, test } from 'vitest';
import { trainHelp } from './help.js';
import { main } from './main.js';
import { trainFlags } from './train-config.js';

async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const result = { out: '', err: '' };
  const output = {
    out: (text: string) => {
      result.out += text;
    },
    err: (text: string) => {
      result.err += text;
    },
    columns: 80,
  };
  return { code: await main(argv, output), ...result };
}

test('help lists every field with type and default, and fits the terminal', async () => {
  const table = trainFlags();
  const { code, out } = await run('train', '--help');
  expect(code).toBe(0);
  for (const { path, kind } of table.fields) if (kind === 'value') expect(out).toContain(`--${path}  `);
  for (const { flag, keep } of table.notYet) if (!keep) expect(out).toContain(`--${flag}  `);
  expect(out).toContain('--policy.chunk_size  integer ≥ 1 (default: 100)');
  expect(out).toContain('--config_path');
  for (const width of [80, 100]) {
    const long = trainHelp(table, width)
      .split('\n')
      .filter((line) => line.length > width);
    expect(long).toEqual([]);
  }
  expect((await run('help', 'train')).out).toBe(out);
});

test('commands, version and mistakes', async () => {
  expect((await run('--version')).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  expect(await run('--help')).toMatchObject({ code: 0, err: '' });
  expect(await run()).toMatchObject({ code: 2, out: '' });
  expect(await run('trian')).toEqual({
    code: 2,
    out: '',
    err: 'craft: error: no such command: trian; did you mean train?\n',
  });
  expect((await run('info')).out).toContain(process.version);
});

test('errors are one line on standard error, with code 2 for usage and 1 for the rest', async () => {
  expect(await run('train', '--polcy.type=act')).toEqual({
    code: 2,
    out: '',
    err: 'craft: error: --polcy.type=act: no such flag; did you mean --policy.type?\n',
  });
  expect(await run('train', '--config_path=/nowhere.json')).toEqual({
    code: 1,
    out: '',
    err: 'craft: error: /nowhere.json: no such file or folder\n',
  });
});
