import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { makeV21Dataset } from '../../test/datasets.js';
import { FakeHub } from '../../test/fake-hub.js';
import { quick, withFakeHub } from '../../test/hub.js';
import { type DownloadDatasetOptions, downloadDataset } from './download-dataset.js';
import { explainWriteError } from './errors.js';

const context = withFakeHub();
const id = 'datasets/user/set';
const video = 'videos/chunk-000/observation.images.top/episode_000000.mp4';
const content = randomBytes(300_000);
let source: string;

beforeEach(() => {
  source = makeV21Dataset([3]);
  mkdirSync(join(source, video, '..'), { recursive: true });
  writeFileSync(join(source, video), content);
  context.hub.addRepo(id);
  context.hub.commitFolder(id, source);
});

function download(options: Partial<DownloadDatasetOptions> = {}): Promise<string> {
  const onWarning = (message: string): void => expect.unreachable(message);
  return downloadDataset({ repoId: 'user/set', retry: quick, onWarning, ...options });
}

const root = () => join(context.home, 'lerobot/user/set');
const requestsFor = (path: string) =>
  context.hub.contentRequests().filter((request) => request.startsWith(path));

function incomplete(): string[] {
  return readdirSync(root(), { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.endsWith('.incomplete'),
  );
}

describe('interrupted', () => {
  test('a cut connection is taken up where it was', async () => {
    context.hub.faults.set(video, { cutAfter: 100_000, times: 1 });
    await download();
    const [first, second] = requestsFor(video);
    expect(first).toBe(video);
    expect(second).toMatch(/ bytes=[1-9]\d*-299999$/);
    expect(readFileSync(join(root(), video)).equals(content)).toBe(true);
    expect(incomplete()).toEqual([]);
  });

  test('a later run continues with what an earlier one left', async () => {
    context.hub.faults.set(video, { cutAfter: 100_000, times: 1 });
    await expect(download({ retry: { ...quick, tries: 1 } })).rejects.toMatchObject({
      code: 'HUB_UNREACHABLE',
    });
    expect(incomplete()).toHaveLength(1);
    expect(existsSync(join(root(), video))).toBe(false);
    const bytes: number[] = [];
    await download({ onProgress: (progress) => bytes.push(progress.bytes - progress.bytesDone) });
    expect(requestsFor(video).at(-1)).toMatch(/ bytes=[1-9]\d*-299999$/);
    expect(readFileSync(join(root(), video)).equals(content)).toBe(true);
    expect(bytes.at(-1)).toBe(0);
  });

  test('a server that ignores the range sends the file from its start', async () => {
    context.hub.faults.set(video, { cutAfter: 100_000, times: 1 });
    await expect(download({ retry: { ...quick, tries: 1 } })).rejects.toMatchObject({
      code: 'HUB_UNREACHABLE',
    });
    context.hub.faults.set(video, { ignoreRange: true });
    await download();
    expect(readFileSync(join(root(), video)).equals(content)).toBe(true);
  });

  test('leftovers of a broken start are thrown away once', async () => {
    context.hub.faults.set(video, { cutAfter: 100_000, times: 1 });
    await expect(download({ retry: { ...quick, tries: 1 } })).rejects.toMatchObject({
      code: 'HUB_UNREACHABLE',
    });
    writeFileSync(join(root(), incomplete()[0]!), randomBytes(50_000));
    await download();
    expect(readFileSync(join(root(), video)).equals(content)).toBe(true);
  });

  test('silence in the middle counts as a cut', async () => {
    context.hub.faults.set(video, { stallAfter: 100_000, times: 1 });
    await download({ retry: { ...quick, timeoutMs: 150 } });
    expect(readFileSync(join(root(), video)).equals(content)).toBe(true);
    context.hub.faults.set('meta/info.json', { stallAfter: 1 });
    const other = join(context.home, 'other');
    await expect(download({ root: other, retry: { ...quick, timeoutMs: 50 } })).rejects.toMatchObject({
      code: 'HUB_UNREACHABLE',
      message: expect.stringContaining('nothing arrived for 0.05 s'),
    });
  });

  test('a download whose lock was taken over stops, and goes on when the other is done', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    context.hub.faults.set(video, { stallAfter: 100_000 });
    const warnings: string[] = [];
    const done = download({ onWarning: (message) => warnings.push(message) });
    const locked = join(root(), '.cache/craft/locked');
    await vi.waitFor(() => expect(incomplete().join()).toContain('.mp4'), 10_000);
    const [mine] = readdirSync(locked);
    rmSync(join(locked, mine!));
    writeFileSync(join(locked, 'theirs'), JSON.stringify({ pid: 1, host: 'elsewhere' }));
    vi.advanceTimersByTime(5000);
    vi.useRealTimers();
    await vi.waitFor(() =>
      expect(warnings).toEqual([expect.stringContaining('waiting for another process')]),
    );
    const requests = context.hub.requests.length;
    expect(existsSync(join(root(), video))).toBe(false);
    context.hub.faults.clear();
    rmSync(join(locked, 'theirs'));
    await done;
    expect(readFileSync(join(root(), video)).equals(content)).toBe(true);
    expect(context.hub.requests.length).toBeGreaterThan(requests);
  });

  test('an answer about files that is cut off is asked for again', async () => {
    context.hub.cutAnswers = 2;
    await download();
    context.hub.cutAnswers = 99;
    await expect(download({ root: join(context.home, 'other') })).rejects.toMatchObject({
      code: 'HUB_UNREACHABLE',
      message: expect.stringContaining('the connection was cut'),
    });
  });

  test('a busy server is asked again, and named when it stays busy', async () => {
    context.hub.faults.set('meta/info.json', { status: 503, times: 2 });
    await download();
    context.hub.faults.set('meta/info.json', { status: 503 });
    await expect(download({ root: join(context.home, 'other') })).rejects.toMatchObject({
      code: 'HUB_UNREACHABLE',
      message: expect.stringContaining('status 503'),
    });
  });
});

describe('bad content', () => {
  test.each([video, 'meta/tasks.jsonl'])(
    'a wrong hash is refused, and nothing of the file is kept: %s',
    async (path) => {
      context.hub.faults.set(path, { corrupt: true });
      await expect(download()).rejects.toMatchObject({
        code: 'HUB_CORRUPT',
        message: expect.stringContaining(path),
      });
      expect(existsSync(join(root(), path))).toBe(false);
      expect(incomplete()).toEqual([]);
      context.hub.faults.clear();
      await download();
    },
  );

  test('more than the disk holds is said before anything is fetched', async () => {
    context.hub.editEntry = (entry) => {
      if (entry.path === video) Object.assign(entry, { lfs: { ...(entry.lfs as object), size: 2 ** 60 } });
    };
    await expect(download()).rejects.toMatchObject({
      code: 'DISK_FULL',
      message: expect.stringMatching(/1152921504\.6 GB are to be fetched and .* GB are free/),
    });
    expect(requestsFor(video)).toEqual([]);
  });

  test.each(['meta/../../evil', '/etc/evil', 'meta/C:evil', 'meta\\..\\evil'])(
    'a path that leaves the folder is refused: %s',
    async (path) => {
      context.hub.editEntry = (entry) => {
        if (entry.path === 'meta/tasks.jsonl') entry.path = path;
      };
      await expect(download()).rejects.toMatchObject({ code: 'HUB_PATH' });
    },
  );

  test('a repository without metadata is no dataset', async () => {
    context.hub.commitFiles(id, new Map([['data.csv', Buffer.from('1')]]));
    await expect(download()).rejects.toMatchObject({ code: 'HUB_NOT_A_DATASET' });
    expect(existsSync(root())).toBe(false);
  });
});

describe('a folder that cannot be written', () => {
  test('below a file', async () => {
    writeFileSync(join(context.home, 'file'), '');
    await expect(download({ root: join(context.home, 'file/set') })).rejects.toMatchObject({
      code: 'WRITE_FAILED',
      message: expect.stringMatching(/file\/set.*ENOTDIR/),
    });
  });

  test('a folder where a file should be', async () => {
    mkdirSync(join(root(), video), { recursive: true });
    await expect(download()).rejects.toMatchObject({ code: 'HUB_LOCAL_DIFFERS' });
  });

  test('a full disk', () => {
    const error = Object.assign(new Error('ENOSPC: no space left on device, write'), {
      code: 'ENOSPC',
      syscall: 'write',
    });
    expect(explainWriteError(error, '/data/set/file')).toMatchObject({
      code: 'DISK_FULL',
      message: expect.stringContaining('/data/set/file: no space left on the disk'),
    });
  });
});

describe('access', () => {
  test('a missing repository, and a private one without a token, say both and how to go on', async () => {
    context.hub.addRepo('datasets/user/secret', { private: true });
    for (const repoId of ['user/nothing', 'user/secret']) {
      await expect(download({ repoId })).rejects.toMatchObject({
        code: 'HUB_NOT_FOUND',
        message: expect.stringMatching(/^dataset user\/\w+ on http.*or it is private.*set HF_TOKEN/),
      });
    }
    expect(existsSync(join(context.home, 'lerobot'))).toBe(false);
  });

  test('a private one opens with HF_TOKEN or the saved token, which storage never sees', async () => {
    context.hub.tokens.set('hf_reader', 'read');
    context.hub.addRepo('datasets/user/secret', { private: true });
    context.hub.commitFolder('datasets/user/secret', source);
    vi.stubEnv('HF_TOKEN', ' hf_reader\n');
    await download({ repoId: 'user/secret' });
    vi.stubEnv('HF_TOKEN', '');
    writeFileSync(join(context.home, 'token'), 'hf_reader\n');
    await download({ repoId: 'user/secret', root: join(context.home, 'again') });
    const { requests } = context.hub;
    expect(requests.some(({ storage }) => storage)).toBe(true);
    expect(requests.every(({ storage, authorization }) => (authorization === undefined) === storage)).toBe(
      true,
    );
  });

  test('bad tokens and conditions', async () => {
    await expect(download({ token: 'hf_old' })).rejects.toMatchObject({
      code: 'HUB_TOKEN',
      message: expect.stringContaining('refused'),
    });
    vi.stubEnv('HF_TOKEN', 'sk-secret');
    await expect(download()).rejects.toMatchObject({
      code: 'HUB_TOKEN',
      message: expect.not.stringContaining('secret'),
    });
    vi.stubEnv('HF_TOKEN', '');
    context.hub.addRepo('datasets/user/gated', { gated: true });
    await expect(download({ repoId: 'user/gated' })).rejects.toMatchObject({
      code: 'HUB_TOKEN',
      message: expect.stringContaining('accept its conditions'),
    });
    context.hub.tokens.set('hf_reader', 'read');
    await expect(download({ repoId: 'user/nothing', token: 'hf_reader' })).rejects.toMatchObject({
      code: 'HUB_NOT_FOUND',
    });
  });

  test('names that are none', async () => {
    await expect(download({ repoId: '../x' })).rejects.toMatchObject({ code: 'HUB_REPO_ID' });
  });
});

describe('without the network', () => {
  test('offline, what is there is used and what is not is named', async () => {
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    await expect(download()).rejects.toMatchObject({
      code: 'HUB_OFFLINE',
      message: expect.stringMatching(/info\.json: is not there.*unset HF_HUB_OFFLINE/),
    });
    await download({ offline: false, cameras: [] });
    context.hub.requests.length = 0;
    await download({ cameras: [] });
    await expect(download({ revision: 'v3.0', cameras: [] })).rejects.toMatchObject({
      code: 'HUB_OFFLINE',
      message: expect.stringContaining('is main, not v3.0'),
    });
    await expect(download()).rejects.toMatchObject({
      code: 'HUB_OFFLINE',
      message: expect.stringContaining(video),
    });
    writeFileSync(join(root(), '.cache/craft/hub.json'), '{');
    await expect(download()).rejects.toMatchObject({
      code: 'HUB_OFFLINE',
      message: expect.stringContaining(video),
    });
    expect(context.hub.requests).toEqual([]);
  });

  test('an address that is no Hub', async () => {
    const portal = createServer((_, response) => response.end('<html>Please log in</html>'));
    await new Promise<void>((done) => portal.listen(0, '127.0.0.1', done));
    const hubUrl = `http://127.0.0.1:${(portal.address() as AddressInfo).port}`;
    await expect(download({ hubUrl })).rejects.toMatchObject({
      code: 'HUB_REFUSED',
      message: expect.stringContaining('log in to the network'),
    });
    portal.close();
  });

  test('a Hub that cannot be reached: what is there is used with a warning, otherwise it is said', async () => {
    const gone = await FakeHub.start();
    await gone.stop();
    const options = { hubUrl: gone.url };
    vi.stubEnv('HTTPS_PROXY', 'http://proxy');
    await expect(download(options)).rejects.toMatchObject({
      code: 'HUB_UNREACHABLE',
      message: expect.stringMatching(
        /the connection is refused.*HF_ENDPOINT.*HF_HUB_OFFLINE.*NODE_USE_ENV_PROXY/,
      ),
    });
    await download();
    const warnings: string[] = [];
    await download({ ...options, onWarning: (message) => warnings.push(message) });
    expect(warnings).toEqual([expect.stringContaining('is used as it is')]);
  });
});
