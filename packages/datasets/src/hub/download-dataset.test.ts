import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { makeDataset, makeV21Dataset } from '../../test/datasets.js';
import { quick, withFakeHub } from '../../test/hub.js';
import { LeRobotDataset } from '../dataset/dataset.js';
import { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import { type DownloadDatasetOptions, downloadDataset } from './download-dataset.js';

const context = withFakeHub();
const id = 'datasets/user/set';
const data = (episode: number) => `data/chunk-000/episode_${String(episode).padStart(6, '0')}.parquet`;
const video = (episode: number) =>
  `videos/chunk-000/observation.images.top/episode_${String(episode).padStart(6, '0')}.mp4`;

function put(root: string, path: string, content: string | Buffer): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
}

/** A v2.1 dataset of four episodes with fake videos, on the Hub. */
function publishV21(options: { branch?: string; tag?: string } = {}): string {
  const folder = makeV21Dataset([3, 4, 5, 6]);
  for (let episode = 0; episode < 4; episode++) put(folder, video(episode), `video ${episode}`);
  put(folder, 'README.md', 'card');
  context.hub.addRepo(id);
  context.hub.commitFolder(id, folder, options);
  return folder;
}

function download(options: Partial<DownloadDatasetOptions> = {}): Promise<string> {
  return downloadDataset({ repoId: 'user/set', retry: quick, onWarning: failOnWarning, ...options });
}

function failOnWarning(message: string): void {
  throw new Error(`unexpected warning: ${message}`);
}

function localFiles(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort();
}

const metaV21 = ['meta/episodes.jsonl', 'meta/episodes_stats.jsonl', 'meta/info.json', 'meta/tasks.jsonl'];

describe('which files', () => {
  test('of v2.1: meta, and the data and videos of the chosen episodes, once each', async () => {
    const source = publishV21();
    const root = await download({ episodes: [3, 1] });
    expect(root).toBe(join(context.home, 'lerobot/user/set'));
    const wanted = [data(1), data(3), ...metaV21, video(1), video(3)];
    expect(context.hub.contentRequests().sort()).toEqual([...wanted].sort());
    expect(localFiles(root)).toEqual(['.cache/craft/hub.json', ...wanted].sort());
    for (const path of wanted)
      expect(readFileSync(join(root, path))).toEqual(readFileSync(join(source, path)));
    const dataset = await LeRobotDataset.open({ root, episodes: [1, 3] });
    expect(dataset.length).toBe(10);
  });

  test('of v3.0: the shared files that the episodes are in', async () => {
    // Files so small that each episode has its own.
    const source = await makeDataset([2, 2, 2, 2], { dataFilesSizeInMb: 1e-6 });
    const metadata = await LeRobotDatasetMetadata.load(source);
    const files = metadata.episodes.map((episode) => metadata.dataPath(episode).slice(source.length + 1));
    expect(new Set(files).size).toBeGreaterThan(2);
    context.hub.addRepo(id);
    context.hub.commitFolder(id, source, { tag: 'v3.0' });
    const root = await download({ episodes: [2] });
    const got = localFiles(root).filter((path) => path.startsWith('data/'));
    expect(got).toEqual([files[2]]);
    const dataset = await LeRobotDataset.open({ root, episodes: [2] });
    expect(dataset.length).toBe(2);
  });

  test('without cameras no videos; an unknown camera is named', async () => {
    publishV21();
    const root = await download({ episodes: [0, 1], excludeEpisodes: [1], cameras: [] });
    expect(localFiles(root).filter((path) => !path.startsWith('.'))).toEqual([data(0), ...metaV21]);
    await expect(download({ cameras: ['top'] })).rejects.toMatchObject({
      code: 'DATASET_KEY',
      message: expect.stringContaining('the dataset has observation.images.top'),
    });
  });

  test('a second time nothing, more episodes only theirs', async () => {
    publishV21();
    await download({ episodes: [0] });
    context.hub.requests.length = 0;
    await download({ episodes: [0] });
    expect(context.hub.contentRequests()).toEqual([]);
    await download({ episodes: [0, 2] });
    expect(context.hub.contentRequests().sort()).toEqual([data(2), video(2)]);
  });

  test('a complete download takes one request to know', async () => {
    publishV21({ tag: 'v3.0' });
    await download({ episodes: [0, 1] });
    context.hub.requests.length = 0;
    await download({ episodes: [1] });
    expect(context.hub.requests.map(({ path }) => path)).toEqual([`/api/${id}/revision/v3.0`]);
  });

  test('right files are recognised by their hashes without a record', async () => {
    publishV21();
    const root = await download();
    rmSync(join(root, '.cache'), { recursive: true });
    rmSync(join(root, data(1)));
    context.hub.requests.length = 0;
    await download();
    expect(context.hub.contentRequests()).toEqual([data(1)]);
  });

  test('listings come in pages', async () => {
    publishV21();
    context.hub.pageSize = 1;
    const root = await download();
    expect(localFiles(root).filter((path) => path.startsWith('meta/'))).toEqual(metaV21);
  });

  test('data that the Hub lacks is an error, a video a warning', async () => {
    const source = publishV21();
    rmSync(join(source, video(2)));
    context.hub.commitFolder(id, source);
    const warnings: string[] = [];
    await download({ onWarning: (message) => warnings.push(message) });
    expect(warnings).toEqual([
      expect.stringContaining(`1 of 4 videos are not in the repository, such as ${video(2)}`),
    ]);
    context.hub.requests.length = 0;
    await download({ onWarning: (message) => warnings.push(message) });
    expect(context.hub.contentRequests()).toEqual([]);
    expect(warnings[1]).toBe(warnings[0]);
    await download({ offline: true });
    rmSync(join(source, data(2)));
    context.hub.commitFolder(id, source);
    await expect(download({ cameras: [] })).rejects.toMatchObject({
      code: 'HUB_FILE_MISSING',
      message: expect.stringContaining(data(2)),
    });
    await download({ cameras: [], episodes: [1] });
  });

  test('processes that start together fetch each file once', async () => {
    publishV21();
    const waits: string[] = [];
    const both = [1, 2].map(() => download({ onWarning: (message) => waits.push(message) }));
    await Promise.all(both);
    expect(context.hub.contentRequests()).toHaveLength(12);
    expect(waits).toEqual([expect.stringContaining('waiting for another process')]);
  });

  test('progress counts what is fetched', async () => {
    publishV21();
    const seen: string[] = [];
    await download({ onProgress: (p) => seen.push(`${p.filesDone}/${p.files} ${p.bytesDone === p.bytes}`) });
    expect(seen).toContain('4/4 true');
    expect(seen.at(-1)).toBe('8/8 true');
  });
});

describe('revisions', () => {
  test('the newest version tag wins over main', async () => {
    const old = publishV21({ tag: 'v2.1' });
    const newer = await makeDataset([2, 2]);
    context.hub.commitFolder(id, newer, { branch: 'new', tag: 'v3.0' });
    expect((await LeRobotDatasetMetadata.load(await download())).version).toBe('3.0');
    const root = join(context.home, 'old');
    expect((await LeRobotDatasetMetadata.load(await download({ root, revision: 'v2.1' }))).version).toBe(
      '2.1',
    );
    put(old, 'README.md', 'main has moved on');
  });

  test('without tags it is main; one that does not exist is named', async () => {
    publishV21();
    await download();
    expect(
      context.hub.requests
        .filter(({ path }) => path.includes('/revision/'))
        .map(({ path }) => path.split('/').at(-1)),
    ).toEqual(['v3.0', 'v2.1', 'v2.0', 'main']);
    await expect(download({ revision: 'v9' })).rejects.toMatchObject({
      code: 'HUB_REVISION',
      message: expect.stringContaining('v9'),
    });
  });

  test('a moved branch: changed files are fetched again, metadata that is gone goes', async () => {
    publishV21();
    const root = await download();
    const next = makeV21Dataset([3, 4, 5, 6]);
    for (let episode = 0; episode < 4; episode++)
      put(next, video(episode), `video ${episode}${episode === 1 ? ' again' : ''}`);
    rmSync(join(next, 'meta/episodes_stats.jsonl'));
    context.hub.commitFolder(id, next);
    context.hub.requests.length = 0;
    await download();
    expect(context.hub.contentRequests()).toEqual([video(1)]);
    expect(readFileSync(join(root, video(1)), 'utf8')).toBe('video 1 again');
    expect(existsSync(join(root, 'meta/episodes_stats.jsonl'))).toBe(false);
  });

  test('files are all of the commit that the revision was at first', async () => {
    publishV21();
    const root = await download({ episodes: [0] });
    const { commit } = JSON.parse(readFileSync(join(root, '.cache/craft/hub.json'), 'utf8'));
    const resolved = context.hub.requests.filter(
      ({ path, storage }) => path.includes('/resolve/') && !storage,
    );
    expect(resolved.every(({ path }) => path.includes(`/resolve/${commit}/`))).toBe(true);
  });
});

describe('what was there stays', () => {
  test("a recording of the user's own is used as it is, without the network", async () => {
    const root = await makeDataset([2, 3]);
    await download({ root });
    expect(context.hub.requests).toEqual([]);
  });

  test("a recording of the user's own is not mixed with the Hub's dataset of that name", async () => {
    publishV21();
    const root = makeV21Dataset([7, 7], [0]);
    const before = readFileSync(join(root, 'meta/episodes.jsonl'), 'utf8');
    await expect(download({ root, cameras: [] })).rejects.toMatchObject({
      code: 'HUB_LOCAL_DIFFERS',
      message: expect.stringMatching(/meta\/\w+\.json.*was not downloaded/),
    });
    expect(readFileSync(join(root, 'meta/episodes.jsonl'), 'utf8')).toBe(before);
    expect(context.hub.contentRequests()).toEqual([]);
  });

  test('a downloaded file that was changed: data is fetched again, metadata kept, both with a warning', async () => {
    publishV21();
    const root = await download();
    writeFileSync(join(root, data(1)), 'cut off');
    writeFileSync(join(root, 'meta/tasks.jsonl'), '{"task_index": 0, "task": "pull"}');
    const warnings: string[] = [];
    context.hub.requests.length = 0;
    await download({ onWarning: (message) => warnings.push(message) });
    expect(context.hub.contentRequests()).toEqual([data(1)]);
    expect(warnings.sort()).toEqual([
      expect.stringContaining('it is fetched again'),
      expect.stringContaining('it is kept'),
    ]);
    expect(readFileSync(join(root, 'meta/tasks.jsonl'), 'utf8')).toContain('pull');
  });

  test('another dataset in the folder is named', async () => {
    publishV21();
    const root = await download();
    await expect(download({ root, repoId: 'user/other' })).rejects.toMatchObject({
      code: 'HUB_LOCAL_DIFFERS',
    });
  });
});
