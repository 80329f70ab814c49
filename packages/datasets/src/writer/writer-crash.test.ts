import { once } from 'node:events';
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fillDisk, smallDisk } from '../../../training/test/training.js';
import { CAMERA, cameraWriter, meanDifference, picture, recordEpisodes } from '../../test/cameras.js';
import { runChild } from '../../test/child.js';
import {
  editJson,
  expectCraftError,
  makeDataset,
  readParquet,
  temporaryFolder,
} from '../../test/datasets.js';
import { LeRobotDataset } from '../dataset/dataset.js';
import { subsetIndex } from '../dataset/indices.js';
import { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import { VideoReader } from '../video/reader.js';
import { LeRobotDatasetWriter } from './writer.js';

const temporary = (root: string): string[] =>
  readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.includes('.tmp-'));

/** Every file's bytes, by name. */
const contents = (root: string): Map<string, string> =>
  new Map(
    readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((name) => statSync(join(root, name)).isFile())
      .sort()
      .map((name) => [name, readFileSync(join(root, name), 'base64')]),
  );

async function expectEpisodes(root: string, lengths: readonly number[]): Promise<void> {
  const dataset = await LeRobotDataset.open({ root });
  expect(dataset.episodes.map(({ start, end }) => end - start)).toEqual(lengths);
  const state = lengths.flatMap((length, e) => Array.from({ length }, (_, frame) => [e, frame]).flat());
  expect(dataset.columns.get('observation.state')!.data).toEqual(Float32Array.from(state));
  const metadata = await LeRobotDatasetMetadata.load(root, {
    onWarning: (message) => expect.fail(message),
  });
  for (const episode of metadata.episodes) {
    using video = await VideoReader.open(metadata.videoPath(episode, CAMERA));
    const { fromTimestamp, toTimestamp } = episode.videos[CAMERA]!;
    const last = episode.length - 1;
    const rgb = video.framesAt([fromTimestamp + last / 10]);
    expect(meanDifference(rgb, picture(episode.episodeIndex, last))).toBeLessThan(8);
    expect(toTimestamp).toBeLessThanOrEqual(video.duration + 1e-9);
  }
}

it('does not overwrite a dataset that something else recorded to the same folder meanwhile', async () => {
  const root = temporaryFolder();
  const create = () =>
    LeRobotDatasetWriter.create({ root, fps: 10, features: { action: { dtype: 'float32', shape: [2] } } });
  const [first, second] = [create(), create()];
  first.addFrame({ action: [1, 2], task: 'first' });
  second.addFrame({ action: [3, 4], task: 'second' });
  await first.saveEpisode();
  await expectCraftError(() => second.saveEpisode(), 'DATASET_EXISTS', 'meanwhile');
  const dataset = await LeRobotDataset.open({ root });
  expect(dataset.item(subsetIndex(0)).task).toBe('first');
  expect(
    readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => /\.tmp-/.test(name)),
  ).toEqual([]);
});

describe('a recording that is cut short', () => {
  it('killed in the middle of an episode loses that episode only, and goes on', async () => {
    const root = temporaryFolder();
    const child = runChild('recorder.ts', root);
    await once(child.stdout!, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(temporary(root)).toHaveLength(1);
    await expectEpisodes(root, [4, 3]);

    const writer = await LeRobotDatasetWriter.open(root);
    expect(temporary(root)).toEqual([]);
    expect(writer.savedEpisodes).toBe(2);
    await recordEpisodes(writer, [2, 5], 2);
    writer.finalize();
    await expectEpisodes(root, [4, 3, 2, 5]);
    const { episodes } = await LeRobotDatasetMetadata.load(root);
    expect(episodes.map(({ dataFile }) => dataFile)).toEqual([0, 0, 1, 1]);
    expect(episodes.map(({ videos }) => videos[CAMERA]!.fileIndex)).toEqual([0, 0, 1, 1]);
    expect(readdirSync(join(root, 'meta/episodes/chunk-000'))).toEqual([
      'file-000.parquet',
      'file-001.parquet',
    ]);
  });

  it.each(['data', 'data and videos', 'all but info.json'])(
    'cut off while saving, after %s, keeps the episodes before',
    async (renamed) => {
      const before = temporaryFolder();
      const after = temporaryFolder();
      const writer = cameraWriter(after);
      await recordEpisodes(writer, [2, 3]);
      mkdirSync(before);
      cpSync(after, before, { recursive: true });
      await recordEpisodes(writer, [4], 2);
      const copied = ['data', ...(renamed === 'data' ? [] : ['videos'])];
      for (const folder of copied) cpSync(join(after, folder), join(before, folder), { recursive: true });
      if (renamed.startsWith('all')) {
        for (const name of ['episodes/chunk-000/file-000.parquet', 'stats.json']) {
          copyFileSync(join(after, 'meta', name), join(before, 'meta', name));
        }
        const reopened = await LeRobotDatasetWriter.open(before);
        await recordEpisodes(reopened, [1], 3);
        await expectEpisodes(before, [2, 3, 4, 1]);
        return;
      }
      await expectEpisodes(before, [2, 3]);
      const reopened = await LeRobotDatasetWriter.open(before);
      expect(await readParquet(join(before, 'data/chunk-000/file-000.parquet'))).toHaveLength(5);
      await recordEpisodes(reopened, [1, 2], 2);
      await expectEpisodes(before, [2, 3, 1, 2]);
    },
  );

  it.each(['encoding', 'saving'])('on a disk that is full while %s loses that episode only', async (when) => {
    const disk = smallDisk();
    if (disk === null) return console.warn('skipped: a small disk can only be mounted as root');
    const root = join(disk, 'dataset');
    const writer = cameraWriter(root);
    await recordEpisodes(writer, [2, 3]);
    const saved = contents(root);
    const free = fillDisk(disk);
    // Video and picture of noise hardly compress; the picture is in memory until the episode is saved.
    const noise = Uint8Array.from(picture(0, 0), (_, i) => (i * i * 31 + (i >> 3) * 57) & 255);
    const add = (frame: number): void =>
      writer.addFrame({
        'observation.state': [2, frame],
        [CAMERA]: noise.map((x) => (x * (frame + 3)) & 255),
        'observation.images.wrist': noise,
        note: '',
        task: 'push',
      });
    const fill = async (): Promise<void> => {
      for (let frame = 0; frame < (when === 'saving' ? 20 : 2000); frame++) add(frame);
      if (when === 'saving') await writer.saveEpisode();
    };
    await expectCraftError(fill, 'DISK_FULL', root);
    expect(writer.bufferedFrames).toBe(0);
    expect(contents(root)).toEqual(saved);
    await expectEpisodes(root, [2, 3]);
    free();
    await recordEpisodes(writer, [4], 2);
    await expectEpisodes(root, [2, 3, 4]);
  });
});

describe('LeRobotDatasetWriter.open', () => {
  it('continues numbers, tasks and statistics as if never closed', async () => {
    const record = async (writer: LeRobotDatasetWriter, episodes: readonly number[]): Promise<void> => {
      for (const episode of episodes) {
        for (let frame = 0; frame < 4; frame++) {
          writer.addFrame({ action: [episode, frame], task: `task ${episode % 3}` });
        }
        await writer.saveEpisode();
      }
    };
    const create = (root: string) =>
      LeRobotDatasetWriter.create({ root, fps: 10, features: { action: { dtype: 'float32', shape: [2] } } });
    const [once, twice] = [temporaryFolder(), temporaryFolder()];
    await record(create(once), [0, 1, 2, 3, 4]);
    await record(create(twice), [0, 1]);
    await record(await LeRobotDatasetWriter.open(twice), [2]);
    await record(await LeRobotDatasetWriter.open(twice), [3, 4]);
    for (const name of ['info.json', 'stats.json', 'tasks.parquet']) {
      expect(readFileSync(join(twice, 'meta', name))).toEqual(readFileSync(join(once, 'meta', name)));
    }
    const [a, b] = [await LeRobotDataset.open({ root: once }), await LeRobotDataset.open({ root: twice })];
    for (const key of ['action', 'index', 'task_index', 'episode_index']) {
      expect(b.columns.get(key)!.data).toEqual(a.columns.get(key)!.data);
    }
    expect((await b.metadata.stats([1, 3])).action).toEqual((await a.metadata.stats([1, 3])).action);
  });

  it('groups the rows of meta/episodes', async () => {
    const root = temporaryFolder();
    const writer = LeRobotDatasetWriter.create({
      root,
      fps: 10,
      features: { action: { dtype: 'float32', shape: [1] } },
    });
    for (let episode = 0; episode < 120; episode++) {
      writer.addFrame({ action: episode, task: 'push' });
      await writer.saveEpisode();
    }
    const { episodes } = await LeRobotDatasetMetadata.load(root);
    expect(episodes.map(({ episodeIndex }) => episodeIndex)).toEqual([...Array(120).keys()]);
    expect((await LeRobotDataset.open({ root })).columns.get('action')!.data[119]).toBe(119);
  });

  it('refuses what it cannot go on with', async () => {
    await expectCraftError(() => LeRobotDatasetWriter.open(temporaryFolder()), 'DATASET_INFO_MISSING');
    const change = (edit: (info: Record<string, unknown>) => void): string => {
      const root = makeDataset([2]);
      editJson(join(root, 'meta/info.json'), edit);
      return root;
    };
    const audio = change(({ features }) => {
      Object.assign(features as object, { sound: { dtype: 'audio', shape: [1], names: null } });
    });
    await expectCraftError(() => LeRobotDatasetWriter.open(audio), 'DATASET_FEATURE', '"sound"');
    const flat = change((info) => {
      info.data_path = 'data/{chunk_index}-{file_index}.parquet';
    });
    renameSync(join(flat, 'data/chunk-000/file-000.parquet'), join(flat, 'data/0-0.parquet'));
    await expectCraftError(() => LeRobotDatasetWriter.open(flat), 'DATASET_PATH_INVALID', 'data_path');
    const cut = makeDataset([2, 2]);
    rmSync(join(cut, 'data'), { recursive: true });
    await expectCraftError(() => LeRobotDatasetWriter.open(cut), 'DATASET_FILE_MISSING');
    const damaged = makeDataset([2, 2]);
    writeFileSync(join(damaged, 'data/chunk-000/file-000.parquet'), 'x');
    await expectCraftError(() => LeRobotDatasetWriter.open(damaged), 'DATASET_FILE_INVALID');
  });
});
