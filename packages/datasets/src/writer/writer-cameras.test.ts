import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parquetMetadata } from 'hyparquet';
import { describe, expect, it } from 'vitest';
import { shared, sharedPath } from '../../../torch/test/shared.js';
import {
  CAMERA,
  cameraFeatures,
  cameraWriter,
  decodePng,
  HEIGHT,
  meanDifference,
  picture,
  recordEpisodes,
  WIDTH,
} from '../../test/cameras.js';
import { expectCraftError, readParquet, temporaryFolder } from '../../test/datasets.js';
import { LeRobotDataset } from '../dataset/dataset.js';
import { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import { VideoReader } from '../video/reader.js';
import { LeRobotDatasetWriter } from './writer.js';

const files = (root: string): string[] =>
  readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => statSync(join(root, name)).isFile())
    .sort();

const json = (path: string): Record<string, never> => JSON.parse(readFileSync(path, 'utf8'));

describe('LeRobotDatasetWriter with cameras', () => {
  it.each(['av1', 'h264'] as const)('several episodes share an mp4 and read back, %s', async (codec) => {
    const root = temporaryFolder();
    const writer = cameraWriter(root, { video: { codec } });
    const lengths = [5, 3, 4];
    await recordEpisodes(writer, lengths);
    writer.finalize();
    expect(files(root)).toEqual([
      'data/chunk-000/file-000.parquet',
      'meta/episodes/chunk-000/file-000.parquet',
      'meta/info.json',
      'meta/stats.json',
      'meta/tasks.parquet',
      `videos/${CAMERA}/chunk-000/file-000.mp4`,
    ]);
    const metadata = await LeRobotDatasetMetadata.load(root);
    expect(metadata.features[CAMERA]).toEqual({
      dtype: 'video',
      shape: [HEIGHT, WIDTH, 3],
      names: ['height', 'width', 'channels'],
      extra: {
        info: {
          'video.height': HEIGHT,
          'video.width': WIDTH,
          'video.codec': codec,
          'video.pix_fmt': 'yuv420p',
          'video.is_depth_map': false,
          'video.fps': 10,
          'video.channels': 3,
          has_audio: false,
          'video.g': 2,
          'video.crf': 30,
          'video.preset': codec === 'av1' ? 12 : null,
        },
      },
    });
    expect(metadata.episodes.map(({ videos }) => videos[CAMERA])).toEqual([
      { chunkIndex: 0, fileIndex: 0, fromTimestamp: 0, toTimestamp: 0.5 },
      { chunkIndex: 0, fileIndex: 0, fromTimestamp: 0.5, toTimestamp: 0.8 },
      { chunkIndex: 0, fileIndex: 0, fromTimestamp: 0.8, toTimestamp: 1.2 },
    ]);
    for (const episode of metadata.episodes) {
      using video = await VideoReader.open(metadata.videoPath(episode, CAMERA));
      expect(video).toMatchObject({ frames: 12, codec, width: WIDTH, height: HEIGHT });
      const from = episode.videos[CAMERA]!.fromTimestamp;
      for (let frame = 0; frame < episode.length; frame++) {
        const rgb = video.framesAt([from + frame / 10]);
        expect(meanDifference(rgb, picture(episode.episodeIndex, frame))).toBeLessThan(8);
      }
    }
    expect((await LeRobotDataset.open({ root })).length).toBe(12);
  });

  it('stores pictures without loss, and texts', async () => {
    const root = temporaryFolder();
    const writer = cameraWriter(root);
    await recordEpisodes(writer, [2, 3]);
    const path = join(root, 'data/chunk-000/file-000.parquet');
    const rows = await readParquet(path, { utf8: false });
    const images = rows.map((row) => row['observation.images.wrist'] as { bytes: Uint8Array; path: unknown });
    expect(images.map(({ bytes }) => decodePng(bytes))).toEqual(
      [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
        [1, 2],
      ].map(([episode, frame]) => ({ width: WIDTH, height: HEIGHT, rgb: picture(episode!, frame!) })),
    );
    expect(images[4]!.path).toBe('frame-000002.png');
    expect(rows.map(({ note }) => note)).toEqual(['начало', '', 'начало', '', '']);
    const { schema, key_value_metadata: entries } = parquetMetadata(bufferOf(path));
    expect(
      schema.filter(({ name }) => ['observation.images.wrist', 'bytes', 'path', 'note'].includes(name)),
    ).toEqual([
      { name: 'observation.images.wrist', repetition_type: 'OPTIONAL', num_children: 2 },
      { name: 'bytes', repetition_type: 'OPTIONAL', type: 'BYTE_ARRAY' },
      expect.objectContaining({ name: 'path', type: 'BYTE_ARRAY', converted_type: 'UTF8' }),
      expect.objectContaining({ name: 'note', type: 'BYTE_ARRAY', converted_type: 'UTF8' }),
    ]);
    expect(schema.some(({ name }) => name === CAMERA)).toBe(false);
    const features = JSON.parse(entries!.find(({ key }) => key === 'huggingface')!.value!).info.features;
    expect(features).toMatchObject({
      'observation.images.wrist': { _type: 'Image' },
      note: { dtype: 'string', _type: 'Value' },
    });
    expect(features).not.toHaveProperty([CAMERA]);
  });

  it('has statistics of cameras per channel, of texts none', async () => {
    const root = temporaryFolder();
    const writer = cameraWriter(root);
    await recordEpisodes(writer, [3, 2]);
    const stats = json(join(root, 'meta/stats.json')) as Record<string, Record<string, unknown>>;
    expect(stats).not.toHaveProperty('note');
    const blue = [0, 16, 32, 64, 80].map((level) => level / 255);
    const mean = blue.reduce((a, b) => a + b) / 5;
    const std = Math.sqrt(blue.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 5);
    for (const key of [CAMERA, 'observation.images.wrist']) {
      const { count, ...rest } = stats[key]! as Record<string, number[][][]> & { count: number[] };
      expect(count).toEqual([5]);
      for (const value of Object.values(rest)) expect(value.map((c) => c.length)).toEqual([1, 1, 1]);
      expect(rest.min![2]![0]![0]).toBe(0);
      expect(rest.max![2]![0]![0]).toBeCloseTo(80 / 255, 12);
      expect(rest.mean![2]![0]![0]).toBeCloseTo(mean, 12);
      expect(rest.std![2]![0]![0]).toBeCloseTo(std, 12);
      expect(rest.q99![0]![0]![0]).toBeCloseTo((40 + 3 * (WIDTH - 1)) / 255, 2);
    }
    const [, second] = await readParquet(join(root, 'meta/episodes/chunk-000/file-000.parquet'));
    expect(second).toMatchObject({
      [`stats/${CAMERA}/count`]: [2n],
      [`stats/${CAMERA}/min`]: [[[40 / 255]], [[60 / 255]], [[64 / 255]]],
    });
    expect(Object.keys(second!).some((name) => name.startsWith('stats/note'))).toBe(false);
  });

  it('begins new video files at their size limit, with counters of their own', async () => {
    const root = temporaryFolder();
    const writer = cameraWriter(root, { videoFilesSizeInMb: 1e-5, chunksSize: 2 });
    await recordEpisodes(writer, [2, 2, 2]);
    const { episodes } = await LeRobotDatasetMetadata.load(root);
    expect(episodes.map(({ videos, dataFile }) => [dataFile, videos[CAMERA]])).toEqual([
      [0, { chunkIndex: 0, fileIndex: 0, fromTimestamp: 0, toTimestamp: 0.2 }],
      [0, { chunkIndex: 0, fileIndex: 1, fromTimestamp: 0, toTimestamp: 0.2 }],
      [0, { chunkIndex: 1, fileIndex: 0, fromTimestamp: 0, toTimestamp: 0.2 }],
    ]);
  });

  it('drops an episode without a trace', async () => {
    const root = temporaryFolder();
    const writer = cameraWriter(root);
    await recordEpisodes(writer, [2]);
    writer.addFrame({
      'observation.state': [9, 9],
      [CAMERA]: picture(3, 3),
      'observation.images.wrist': picture(3, 3),
      note: '',
      task: 'another',
    });
    writer.clearEpisode();
    await recordEpisodes(writer, [3], 1);
    const metadata = await LeRobotDatasetMetadata.load(root);
    expect([...metadata.tasks.values()]).toEqual(['push']);
    using video = await VideoReader.open(metadata.videoPath(metadata.episodes[1]!, CAMERA));
    expect(video.frames).toBe(5);
    expect(readdirSync(join(root, 'videos', CAMERA))).toEqual(['chunk-000']);
  });

  it('must be awaited', async () => {
    const writer = cameraWriter(temporaryFolder());
    const saving = recordEpisodes(writer, [1]);
    await expectCraftError(() => writer.finalize(), 'DATASET_WRITE', 'await');
    await saving;
    writer.finalize();
  });

  it('refuses pictures and texts of the wrong kind, and keeps the episode', async () => {
    const writer = cameraWriter(temporaryFolder());
    const good = {
      'observation.state': [0, 0],
      [CAMERA]: picture(0, 0),
      'observation.images.wrist': picture(0, 0),
      note: 'x',
      task: 'push',
    };
    writer.addFrame(good);
    const add = (wrong: object) => () => writer.addFrame({ ...good, ...wrong });
    await expectCraftError(add({ [CAMERA]: new Uint8Array(5) }), 'DATASET_FRAME', '5 bytes, expected 4608');
    await expectCraftError(add({ [CAMERA]: [1, 2, 3] }), 'DATASET_FRAME', 'Uint8Array');
    await expectCraftError(
      add({ [CAMERA]: { data: picture(0, 0), width: HEIGHT, height: WIDTH } }),
      'DATASET_FRAME',
      '32×48',
    );
    await expectCraftError(add({ note: 3 }), 'DATASET_FRAME', '"note" is a number');
    await expectCraftError(add({ 'observation.state': 'up' }), 'DATASET_FRAME', '2 numbers');
    expect(writer.bufferedFrames).toBe(1);
    await writer.saveEpisode();
    const { [CAMERA]: _, ...features } = cameraFeatures;
    const create = (feature: object) => () =>
      LeRobotDatasetWriter.create({
        root: temporaryFolder(),
        fps: 10,
        features: { ...features, [CAMERA]: { ...cameraFeatures[CAMERA], ...feature } },
      });
    await expectCraftError(create({ shape: [3, 32, 48] }), 'DATASET_FEATURE', '[height, width, 3]');
    await expectCraftError(create({ shape: [31, 48, 3] }), 'DATASET_FEATURE', 'even');
    await expectCraftError(
      create({ names: ['channels', 'height', 'width'] }),
      'DATASET_FEATURE',
      'names height, width, channels',
    );
  });

  it.skipIf(shared === null)('has the columns, types and names of a dataset LeRobot wrote', async () => {
    const theirs = sharedPath('data', 'so101_orange_cube_v3', 'meta');
    const { features: all, fps } = json(join(theirs, 'info.json')) as unknown as {
      features: Record<string, { dtype: string; shape: number[]; names: unknown }>;
      fps: number;
    };
    const own = Object.entries(all).filter(([key]) => key === 'action' || key.startsWith('observation'));
    const small = ([key, { dtype, shape, names }]: (typeof own)[number]) =>
      [key, { dtype, names, shape: dtype === 'video' ? [HEIGHT, WIDTH, 3] : shape }] as const;
    const root = temporaryFolder();
    const features = Object.fromEntries(own.map(small));
    const writer = LeRobotDatasetWriter.create({ root, fps, features, robotType: 'so101_follower' });
    const values = own.map(([key, { dtype }]) => [
      key,
      dtype === 'video' ? picture(0, 0) : [1, 2, 3, 4, 5, 6],
    ]);
    writer.addFrame({ ...Object.fromEntries(values), task: 'push' });
    await writer.saveEpisode();
    const tail = 'episodes/chunk-000/file-000.parquet';
    const columns = (path: string): unknown => parquetMetadata(bufferOf(path)).schema;
    expect(columns(join(root, 'meta', tail))).toEqual(columns(join(theirs, tail)));
    const data = 'data/chunk-000/file-000.parquet';
    expect(columns(join(root, data))).toEqual(columns(join(theirs, '..', data)));
    const [ours, lerobots] = [join(root, 'meta'), theirs].map((meta) => json(join(meta, 'info.json')));
    expect(Object.keys(ours!)).toEqual(Object.keys(lerobots!));
    for (const key of Object.keys(all)) {
      expect(Object.keys(ours!.features![key]!)).toEqual(expect.arrayContaining(Object.keys(all[key]!)));
      const info = (from: typeof ours): object => (from!.features![key]! as { info?: object }).info ?? {};
      expect(Object.keys(info(ours))).toEqual(expect.arrayContaining(Object.keys(info(lerobots))));
    }
    const stats = json(join(root, 'meta/stats.json'));
    expect(Object.keys(stats).sort()).toEqual(Object.keys(json(join(theirs, 'stats.json'))).sort());
  });
});

function bufferOf(path: string): ArrayBuffer {
  const { buffer, byteOffset, byteLength } = readFileSync(path);
  return buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer;
}
