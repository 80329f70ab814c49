import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CraftError } from '@craft-ft/torch/errors';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { serveView, type ViewServer } from './serve.js';
import type { ViewSource } from './view-episode.js';

const frame = { qpos: [0.5], qvel: [0], ctrl: [1] };
const expert: ViewSource = {
  name: 'expert',
  label: 'Somebody',
  episodes: null,
  load: async ({ task, seed }) => {
    if (seed === 13) throw new CraftError('EXPERT_FAILED', 'thirteen is bad luck');
    const rest = { success: true, mocap: [], frames: [frame], recorded: [], note: null };
    return { task, instruction: `${task} from ${seed}`, fps: 25, ...rest };
  },
  close: async () => {},
};
const dataset: ViewSource = {
  ...expert,
  name: 'dataset',
  episodes: 3,
  load: async ({ task, episode }, signal) => ({
    ...(await expert.load({ task, seed: 0, episode }, signal)),
    task: null,
  }),
  picture: async () => ({ rgb: new Uint8Array([1, 2, 3, 4, 5, 6]), width: 2, height: 1 }),
};

const folder = mkdtempSync(join(tmpdir(), 'craft-view-'));
let server: ViewServer;

beforeAll(async () => {
  writeFileSync(join(folder, 'a.js'), 'export {}');
  writeFileSync(join(folder, 'secret.txt'), 'secret');
  const assets = new Map([['/world/a.js', join(folder, 'a.js')]]);
  server = await serveView({ sources: [expert, dataset], first: { seed: 4 }, assets });
});
afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

interface Answer {
  status: number;
  type: string;
  body: string;
}

/** Sends the path as it is: fetch would normalise it. */
function ask(path: string, options: { method?: string; host?: string } = {}): Promise<Answer> {
  const { method = 'GET', host = `127.0.0.1:${server.port}` } = options;
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port: server.port, path, method, headers: { host } }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => {
        resolve({ status: response.statusCode!, type: response.headers['content-type'] ?? '', body });
      });
    })
      .on('error', reject)
      .end();
  });
}

test('serves the page, its modules, and what there is to show', async () => {
  const page = await ask('/');
  expect([page.status, page.type]).toEqual([200, 'text/html; charset=utf-8']);
  expect(page.body).toContain('/world/view/page/main.js');
  // Nothing of it is fetched from elsewhere.
  expect(page.body).not.toMatch(/https?:\/\//);
  expect(await ask('/world/a.js')).toEqual({ status: 200, type: 'text/javascript', body: 'export {}' });
  const { sources, first, tasks } = JSON.parse((await ask('/api/setup')).body);
  expect(sources.map(({ name }: ViewSource) => name)).toEqual(['expert', 'dataset']);
  expect(first).toEqual({ source: 'expert', task: 'place-in-red-bin', seed: 4, episode: 0 });
  expect(tasks).toHaveLength(7);
});

test('answers with episodes and pictures', async () => {
  const episode = JSON.parse((await ask('/api/episode?source=expert&task=lift&seed=2')).body);
  expect(episode).toMatchObject({ task: 'lift', instruction: 'lift from 2', frames: [frame] });
  expect(JSON.parse((await ask('/api/episode?source=dataset&episode=2')).body).task).toBeNull();
  const picture = await fetch(`${server.url}api/picture?source=dataset&episode=0&frame=0&camera=top`);
  expect(picture.headers.get('x-width')).toBe('2');
  expect(new Uint8Array(await picture.arrayBuffer())).toEqual(new Uint8Array([1, 2, 3, 4, 5, 6]));
  expect((await ask('/api/picture?source=expert&episode=0&frame=0&camera=top')).status).toBe(404);
});

test('says in one line what is wrong', async () => {
  expect(await ask('/api/episode?source=expert&task=juggle&seed=0')).toMatchObject({ status: 400 });
  expect((await ask('/api/episode?source=expert&task=lift&seed=-1')).body).toBe(
    'seed: found "-1", expected a whole number from 0 on\n',
  );
  expect((await ask('/api/episode')).body).toBe('source: found null, expected one of expert, dataset\n');
  expect(await ask('/api/episode?source=expert&task=lift&seed=13')).toMatchObject({
    status: 422,
    body: 'thirteen is bad luck\n',
  });
});

test.each([
  '/secret.txt',
  '/world/secret.txt',
  '/world/../secret.txt',
  '/world/%2e%2e/secret.txt',
  '/world/..%2fsecret.txt',
  '/world/a.js/../secret.txt',
  '//world/a.js',
  '/world/a.js%00',
  '/world/',
  '/../../../../etc/passwd',
  '/__proto__',
  '/constructor',
])('%s is not there', async (path) => {
  expect(await ask(path)).toMatchObject({ status: 404, body: 'not found\n' });
});

test('only for this machine, only for reading', async () => {
  expect((await ask('/', { host: 'elsewhere.example' })).status).toBe(403);
  expect((await ask('/', { host: `localhost:${server.port}` })).status).toBe(200);
  expect((await ask('/', { method: 'POST' })).status).toBe(405);
  expect(await ask('/world/a.js', { method: 'HEAD' })).toMatchObject({ status: 200, body: '' });
});

test('closing waits for the episode that is being loaded, and says to it that nobody waits', async () => {
  const seen: string[] = [];
  let begun = () => {};
  const loading = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const slow: ViewSource = {
    ...expert,
    load: async (_, signal) => {
      begun();
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      seen.push('loaded');
      throw new CraftError('VIEW_STOPPED', 'nobody waits');
    },
    close: async () => void seen.push('closed'),
  };
  const own = await serveView({ sources: [slow], assets: new Map() });
  const answer = fetch(`${own.url}api/episode?source=expert&task=lift&seed=0`).catch(() => 'gone');
  await loading;
  await own.close();
  expect(seen).toEqual(['loaded', 'closed']);
  expect(await answer).toBe('gone');
});

test('a port that is taken is named', async () => {
  const again = serveView({ sources: [expert], port: server.port, assets: new Map() });
  await expect(again).rejects.toMatchObject({
    code: 'VIEW_PORT',
    message: `port ${server.port} is in use; choose another, or leave --port out for a free one`,
  });
});
