import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sharedPath } from '../../../torch/test/shared.js';
import {
  editJson,
  expectCraftError,
  makeDataset,
  makeV21Dataset,
  temporaryFolder,
} from '../../test/datasets.js';
import { numberIn, writeClip } from '../../test/video.js';
import { LeRobotDataset } from '../dataset/dataset.js';
import { subsetIndex } from '../dataset/indices.js';
import { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import { VideoReader } from '../video/reader.js';
import { LeRobotDatasetWriter } from '../writer/writer.js';
import { examineDataset } from './doctor/doctor.js';
import { convertDataset, deleteEpisodes, mergeDatasets, splitDataset } from './edit.js';
import { readTable } from './metadata-tables.js';
import { readEpisodes } from './source-episodes.js';

const fps = 10;
const camera = 'observation.images.top';

/** State, action and task of every frame: what no edit may change. */
async function contents(root: string, episodes?: readonly number[]): Promise<unknown[]> {
  const dataset = await LeRobotDataset.open({ root, episodes, onWarning: () => {} });
  return Array.from({ length: dataset.length }, (_, row) => {
    const { columns, task } = dataset.item(subsetIndex(row));
    const { 'observation.state': state, action, timestamp, frame_index: frame } = columns;
    return [state!.data, action!.data, timestamp!.data, frame!.data, task];
  });
}

/** A v2.1 dataset with its videos; the frames of episode e are numbered from 100 e on. */
async function makeVideoDataset(lengths: readonly number[]): Promise<string> {
  const root = makeV21Dataset(lengths);
  for (const [episode, frames] of lengths.entries()) {
    const name = `episode_${String(episode).padStart(6, '0')}.mp4`;
    const path = join(root, 'videos', 'chunk-000', camera, name);
    mkdirSync(dirname(path), { recursive: true });
    await writeClip(path, { frames, fps, gop: 2, bFrames: 0, firstNumber: 100 * episode });
  }
  return root;
}

/** The numbers that the frames of each episode carry, read through the metadata's windows. */
async function filmed(root: string): Promise<number[][]> {
  const metadata = await LeRobotDatasetMetadata.load(root);
  const episodes: number[][] = [];
  for (const episode of metadata.episodes) {
    using video = await VideoReader.open(metadata.videoPath(episode, camera));
    const { fromTimestamp } = episode.videos[camera]!;
    const times = Array.from({ length: episode.length }, (_, i) => fromTimestamp + i / metadata.fps);
    const rgb = video.framesAt(times);
    episodes.push(times.map((_, i) => numberIn(rgb, video.width, video.height, i * video.frameBytes)));
  }
  return episodes;
}

describe('convert', () => {
  it('v2.1 with videos becomes v3.0 with the same numbers and frames, in one file per camera', async () => {
    const source = await makeVideoDataset([4, 6, 3]);
    const output = temporaryFolder();
    const result = await convertDataset(source, output, { onWarning: () => {} });
    expect(result).toMatchObject({ episodes: 3, frames: 13, videoFrames: 13 });
    expect(await contents(output)).toEqual(await contents(source));
    const metadata = await LeRobotDatasetMetadata.load(output);
    expect(metadata.version).toBe('3.0');
    expect(metadata.features).toEqual((await LeRobotDatasetMetadata.load(source)).features);
    expect(metadata.episodes.map((episode) => episode.videos[camera]!.fromTimestamp)).toEqual([0, 0.4, 1]);
    expect(await filmed(output)).toEqual(
      [4, 6, 3].map((n, e) => Array.from({ length: n }, (_, i) => 100 * e + i)),
    );
    expect(readdirSync(join(output, 'videos', camera, 'chunk-000'))).toEqual(['file-000.mp4']);
    expect(readdirSync(dirname(output))).toEqual(['dataset']);
  });

  it('begins a new video file at the size limit', async () => {
    const output = temporaryFolder();
    await convertDataset(await makeVideoDataset([4, 6]), output, {
      videoFilesSizeInMb: 1e-4,
      onWarning: () => {},
    });
    const { episodes } = await LeRobotDatasetMetadata.load(output);
    expect(episodes.map((e) => [e.videos[camera]!.fileIndex, e.videos[camera]!.fromTimestamp])).toEqual([
      [0, 0],
      [1, 0],
    ]);
    expect((await filmed(output))[1]![0]).toBe(100);
  });

  it('begins a new data file at the size limit', async () => {
    const source = makeDataset([4, 6, 5]);
    const output = temporaryFolder();
    await convertDataset(source, output, { dataFilesSizeInMb: 0.0001 });
    expect(await contents(output)).toEqual(await contents(source));
    const { episodes } = await LeRobotDatasetMetadata.load(output);
    expect(episodes.map(({ dataFile }) => dataFile)).toEqual([0, 1, 2]);
  });

  it('refuses what would lose something, and leaves no folder behind', async () => {
    const output = temporaryFolder();
    const missing = makeV21Dataset([3]);
    await expectCraftError(() => convertDataset(missing, output), 'VIDEO_MISSING', 'episode_000000.mp4');
    const short = await makeVideoDataset([4]);
    await writeClip(join(short, 'videos/chunk-000', camera, 'episode_000000.mp4'), { frames: 3, fps });
    await expectCraftError(() => convertDataset(short, output), 'VIDEO_CUT', 'the file has 3 frames');
    const odd = makeDataset([2]);
    await expectCraftError(() => convertDataset(odd, makeDataset([2])), 'DATASET_EXISTS');
    editJson(join(odd, 'meta/info.json'), (info) => {
      (info.features as Record<string, unknown>).note = { dtype: 'language', shape: [1], names: null };
    });
    await expectCraftError(() => convertDataset(odd, output), 'TOOL_FEATURES', '"note" has dtype "language"');
    expect(existsSync(output)).toBe(false);
    expect(readdirSync(dirname(output))).toEqual([]);
  });

  it('leaves alone what is written to the output meanwhile, and keeps the new dataset beside it', async () => {
    const source = makeDataset([2, 3]);
    const output = temporaryFolder();
    const theirs = join(output, 'notes.txt');
    const onProgress = (): void => {
      mkdirSync(output, { recursive: true });
      writeFileSync(theirs, 'mine');
    };
    await expectCraftError(() => convertDataset(source, output, { onProgress }), 'DATASET_EXISTS', 'partial');
    expect(readFileSync(theirs, 'utf8')).toBe('mine');
    const [kept] = readdirSync(dirname(output)).filter((name) => name.endsWith('.partial'));
    expect(await contents(join(dirname(output), kept!))).toEqual(await contents(source));
  });

  it('two at once to the same output: one gets the name, nothing is lost', async () => {
    const sources = [makeDataset([2, 3]), makeDataset([4])];
    const output = temporaryFolder();
    mkdirSync(output);
    const results = await Promise.allSettled(sources.map((source) => convertDataset(source, output)));
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const winner = results.findIndex(({ status }) => status === 'fulfilled');
    expect(await contents(output)).toEqual(await contents(sources[winner]!));
    const [kept] = readdirSync(dirname(output)).filter((name) => name.endsWith('.partial'));
    expect(await contents(join(dirname(output), kept!))).toEqual(await contents(sources[1 - winner]!));
  });

  it('an output that is a file is refused; one that is a link is written where it points', async () => {
    const output = temporaryFolder();
    mkdirSync(dirname(output), { recursive: true });
    writeFileSync(output, 'mine');
    await expectCraftError(() => convertDataset(makeDataset([2]), output), 'DATASET_EXISTS', 'is a file');
    const [link, folder] = [`${output}.link`, `${output}.folder`];
    mkdirSync(folder);
    symlinkSync(folder, link);
    await convertDataset(makeDataset([2]), link);
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(readdirSync(folder)).toContain('meta');
  });

  const g1 = sharedPath('data', 'g1_yellow_bottle');
  it.skipIf(!existsSync(g1))('ten real episodes, video included', { timeout: 120_000 }, async () => {
    const episodes = [10, 28, 29, 30, 31, 59, 63, 82, 88, 99];
    const output = temporaryFolder();
    const result = await convertDataset(g1, output, { episodes, onWarning: () => {} });
    expect(await contents(output)).toEqual(await contents(g1, episodes));
    const dataset = await LeRobotDataset.open({ root: output });
    expect(result).toMatchObject({ episodes: 10, frames: dataset.length, videoFrames: dataset.length });
    const old = await LeRobotDataset.open({ root: g1, episodes, onWarning: () => {} });
    for (const name of ['mean', 'std'] as const) {
      dataset.stats.action![name].forEach((value, i) => {
        expect(value).toBeCloseTo(old.stats.action![name][i]!, 5);
      });
    }
    const so101 = sharedPath('data', 'so101_orange_cube_v3');
    const types = async (root: string, key: string, also: string): Promise<Record<string, unknown>> => {
      const table = await readTable(join(root, 'meta/episodes/chunk-000/file-000.parquet'));
      return Object.fromEntries(
        [...table].flatMap(([name, { dtype, depth }]) =>
          // The source of 2.1 has no quantiles of cameras; so101 has a second camera.
          (name.includes(key) && /\/q\d\d$/.test(name)) || name.includes(also)
            ? []
            : [[name.replace(key, 'camera'), [dtype, depth]]],
        ),
      );
    };
    expect(await types(output, 'observation.images.cam_high', 'none')).toEqual(
      await types(so101, 'observation.images.front', 'observation.images.top'),
    );
    expect(dataset.stats['observation.images.cam_high']).toEqual(old.stats['observation.images.cam_high']);
  });
});

describe('merge, split, delete', () => {
  it('keeps texts and pictures byte by byte', async () => {
    const root = temporaryFolder();
    const writer = LeRobotDatasetWriter.create({
      root,
      fps,
      features: {
        note: { dtype: 'string', shape: [1] },
        'observation.images.wrist': {
          dtype: 'image',
          shape: [4, 6, 3],
          names: ['height', 'width', 'channels'],
        },
        action: { dtype: 'float32', shape: [2] },
      },
    });
    for (let episode = 0; episode < 3; episode++) {
      for (let frame = 0; frame < 3; frame++) {
        const rgb = new Uint8Array(72).map((_, i) => i + 20 * episode + frame);
        writer.addFrame({
          note: `é${episode}.${frame}`,
          'observation.images.wrist': rgb,
          action: [episode, frame],
          task: 'look',
        });
      }
      await writer.saveEpisode();
    }
    writer.finalize();
    const less = temporaryFolder();
    expect(await deleteEpisodes(root, less, [1])).toMatchObject({ episodes: 2, frames: 6 });
    const others = async (folder: string): Promise<unknown[]> => {
      const metadata = await LeRobotDatasetMetadata.load(folder);
      const sources = metadata.episodes.map((episode) => ({ metadata, episode }));
      const result = [];
      for await (const { others } of readEpisodes(sources, () => {})) result.push(Object.fromEntries(others));
      return result;
    };
    const all = await others(root);
    expect(await others(less)).toEqual([all[0], all[2]]);
    expect(all[2]).toMatchObject({ note: ['é2.0', 'é2.1', 'é2.2'] });
    expect((await examineDataset(less)).findings).toEqual([]);
    expect((await LeRobotDatasetMetadata.load(less)).features).toEqual(
      (await LeRobotDatasetMetadata.load(root)).features,
    );
  });

  it('merge puts datasets behind each other and unifies their tasks', async () => {
    const [a, b] = [makeDataset([3, 4]), makeDataset([2])];
    const output = temporaryFolder();
    await mergeDatasets([b, a, b], output);
    expect(await contents(output)).toEqual([
      ...(await contents(b)),
      ...(await contents(a)),
      ...(await contents(b)),
    ]);
    const { tasks, episodes } = await LeRobotDatasetMetadata.load(output);
    expect([...tasks.values()]).toEqual(['push', 'pull']);
    expect(episodes.map((episode) => episode.fromIndex)).toEqual([0, 2, 5, 9]);
  });

  it('merge names the dataset and the feature that differ', async () => {
    const [a, b] = [
      makeDataset([2]),
      makeDataset([2], { keys: { state: 'observation.pose', action: 'action' } }),
    ];
    await expectCraftError(
      () => mergeDatasets([a, b], temporaryFolder()),
      'TOOL_FEATURES',
      b,
      'observation.state',
    );
    const c = makeDataset([2]);
    editJson(join(c, 'meta/info.json'), (info) => {
      info.fps = 20;
    });
    await expectCraftError(() => mergeDatasets([a, c], temporaryFolder()), 'TOOL_FEATURES', c, '20 fps');
  });

  it('split, then merge, is the identity; delete leaves the rest', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 2, maxLength: 6 }),
        fc.double({ min: 0.3, max: 0.7, noNaN: true }),
        fc.nat(),
        async (lengths, share, pick) => {
          const source = makeDataset(lengths);
          const [split, merged, less] = [temporaryFolder(), temporaryFolder(), temporaryFolder()];
          const parts = await splitDataset(source, split, { train: share, val: 1 - share });
          expect(parts.train!.episodes + parts.val!.episodes).toBe(lengths.length);
          await mergeDatasets([join(split, 'train'), join(split, 'val')], merged);
          expect(await contents(merged)).toEqual(await contents(source));
          const gone = pick % lengths.length;
          await deleteEpisodes(source, less, [gone]);
          const rest = lengths.flatMap((_, episode) => (episode === gone ? [] : [episode]));
          expect(await contents(less)).toEqual(await contents(source, rest));
        },
      ),
      { numRuns: 8 },
    );
  });

  it('cuts episodes out of shared video files, and joins them again', async () => {
    const shared = temporaryFolder();
    await convertDataset(await makeVideoDataset([4, 3, 5]), shared, { onWarning: () => {} });
    const [less, split] = [temporaryFolder(), temporaryFolder()];
    await deleteEpisodes(shared, less, [1], { onWarning: () => {} });
    const all = await filmed(shared);
    expect(await filmed(less)).toEqual([all[0], all[2]]);
    await splitDataset(shared, split, { b: [2, 1], a: [0] }, { onWarning: () => {} });
    expect(await filmed(join(split, 'b'))).toEqual([all[1], all[2]]);
  });

  it('says what is wrong with the parts', async () => {
    const source = makeDataset([2, 2]);
    const split = (parts: Record<string, number | number[]>) => () =>
      splitDataset(source, temporaryFolder(), parts);
    await expectCraftError(split({ a: [0, 1], b: [1] }), 'TOOL_SPLIT', 'episode 1 is in two parts');
    await expectCraftError(split({ a: 0.8, b: 0.4 }), 'TOOL_SPLIT', 'at most 1');
    await expectCraftError(split({ a: 0.9, b: 0.1 }), 'TOOL_SPLIT', '"b" would get none');
    await expectCraftError(split({ a: 0.9, b: [1] }), 'TOOL_SPLIT', 'either');
    await expectCraftError(split({ '../a': 0.9 }), 'TOOL_SPLIT', 'folder');
    const output = temporaryFolder();
    mkdirSync(join(output, 'b', 'meta'), { recursive: true });
    await expectCraftError(() => splitDataset(source, output, { a: [0], b: [1] }), 'DATASET_EXISTS', '/b:');
    expect(readdirSync(output)).toEqual(['b']);
    await expectCraftError(() => deleteEpisodes(source, temporaryFolder(), [0, 1]), 'DATASET_EPISODES');
    await expectCraftError(
      () => deleteEpisodes(source, temporaryFolder(), [5]),
      'DATASET_EPISODES',
      'no episode 5',
    );
  });
});
