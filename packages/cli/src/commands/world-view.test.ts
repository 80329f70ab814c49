import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { craft } from '../../test/craft.js';

const view = (...flags: string[]) => craft(['world', 'view', '--no-open', ...flags]);

it('prints its address, serves, and ends with Ctrl-C', async () => {
  let url = '';
  const served: Promise<unknown>[] = [];
  const { code, err } = await craft(['world', 'view', '--no-open', '--task=stack', '--seed=7'], (line) => {
    url = line.split('\n')[0]!;
    served.push(fetch(`${url}api/setup`).then((response) => response.json()));
    // The listener comes after the address.
    void served[0]!.finally(() => process.emit('SIGINT'));
  });
  expect([code, err]).toEqual([0, '']);
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
  expect(await served[0]).toMatchObject({ first: { source: 'expert', task: 'stack', seed: 7 } });
  await expect(fetch(url)).rejects.toThrow();
});

it.each([
  [['--task=stak'], 2, 'task=stak: did you mean stack?'],
  [['--task=lift,stack'], 2, 'task=lift,stack: '],
  [['--host=0.0.0.0'], 2, 'host=0.0.0.0: expected 127.0.0.1: the page is for this machine'],
  [['--port=70000'], 2, 'port=70000: '],
  [['--episode=3'], 2, 'episode=3: expected dataset.root or dataset.repo_id too'],
  [['--dataset.root=/nowhere'], 1, '/nowhere/meta/info.json: the file is missing'],
  [['--policy.path=/nowhere'], 1, '/nowhere: no such folder'],
])('%j is refused in one line', async (flags, code, message) => {
  const ran = await view(...flags);
  expect(ran).toMatchObject({ code, out: '', err: expect.stringContaining(`craft: error: ${message}`) });
  expect(ran.err.trimEnd().split('\n')).toHaveLength(1);
});

it('names a port that is taken', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  expect(await view(`--port=${port}`)).toEqual({
    code: 1,
    out: '',
    err: `craft: error: port ${port} is in use; choose another, or leave --port out for a free one\n`,
  });
  other.close();
});
