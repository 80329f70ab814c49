import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { LeRobotDatasetWriter } from '@craft-ft/datasets';
import { beforeAll, expect, it, vi } from 'vitest';
import { patience } from '../../../datasets/src/hub/http.js';
import { HEIGHT, picture, WIDTH } from '../../../datasets/test/cameras.js';
import { withFakeHub } from '../../../datasets/test/hub.js';
import { testFolder } from '../../../training/test/training.js';
import { craft, type Ran } from '../../test/craft.js';

const context = withFakeHub();
const data = join(testFolder(), 'data');
const CAMERA = 'observation.images.top';

/** Three episodes of six joints and a video, each in its own files. */
beforeAll(async () => {
  const writer = LeRobotDatasetWriter.create({
    root: data,
    fps: 10,
    dataFilesSizeInMb: 1e-6,
    videoFilesSizeInMb: 1e-6,
    features: {
      'observation.state': { dtype: 'float32', shape: [6] },
      [CAMERA]: { dtype: 'video', shape: [HEIGHT, WIDTH, 3] },
    },
  });
  for (let episode = 0; episode < 3; episode++) {
    for (let frame = 0; frame < 2; frame++) {
      writer.addFrame({
        'observation.state': [episode, frame, 0, 0, 0, 0],
        [CAMERA]: { data: picture(episode, frame), width: WIDTH, height: HEIGHT },
        task: 'lift',
      });
    }
    await writer.saveEpisode();
  }
  await writer.finalize();
});

const publish = (): void => {
  context.hub.addRepo('datasets/me/arm');
  context.hub.commitFolder('datasets/me/arm', data, { tag: 'v3.0' });
};

/** Episode files requested from the Hub, in order. */
const fetched = () =>
  context.hub
    .contentRequests()
    .filter((path) => !path.startsWith('meta/'))
    .map((path) => `${path.split('/')[0]} ${Number(/file-(\d+)/.exec(path)![1])}`);

/** Runs the command on the dataset's name, calls `look` with the page's address, then interrupts the command. */
async function view(flags: string[], look: (url: string) => Promise<void>): Promise<Ran> {
  let looked: Promise<void> | undefined;
  const command = ['world', 'view', '--no-open', '--dataset.repo_id=me/arm', ...flags];
  const ran = await craft(command, (text) => {
    looked ??= look(text.split('\n')[0]!).finally(() => process.emit('SIGINT'));
  });
  await looked;
  return ran;
}

const episode = async (url: string, index: number) => {
  const response = await fetch(`${url}api/episode?source=dataset&episode=${index}&task=lift&seed=0`);
  return { status: response.status, ...((await response.json()) as object) };
};

it('brings what is looked at from the Hub, and once', async () => {
  publish();
  const { code, err } = await view(['--episode=1'], async (url) => {
    expect(fetched()).toEqual(['data 1', 'videos 1']);
    const setup = await (await fetch(`${url}api/setup`)).json();
    expect(setup).toMatchObject({ sources: [{ name: 'dataset', episodes: 3 }, {}], first: { episode: 1 } });
    expect(await episode(url, 1)).toMatchObject({ status: 200, recorded: [CAMERA] });
    expect(await episode(url, 2)).toMatchObject({ status: 200, recorded: [CAMERA] });
    await episode(url, 1);
    expect(fetched()).toEqual(['data 1', 'videos 1', 'data 2', 'videos 2']);
  });
  expect(code).toBe(0);
  expect(err).toMatch(/^downloading me\/arm from the Hugging Face Hub into [^\n]*\n$/);
});

it('a dataset that is here needs no Hub, nor its videos', async () => {
  const here = join(context.home, 'lerobot', 'me', 'arm');
  cpSync(data, here, { recursive: true });
  const whole = await view([], async (url) => {
    expect(await episode(url, 2)).toMatchObject({ status: 200, recorded: [CAMERA] });
  });
  expect([whole.code, whole.err, context.hub.requests]).toEqual([0, '', []]);
  rmSync(join(here, 'videos'), { recursive: true });
  const blind = await view([], async (url) => {
    for (const index of [0, 2])
      expect(await episode(url, index)).toMatchObject({ status: 200, recorded: [] });
  });
  expect(blind.code).toBe(0);
  expect(blind.err).toMatch(
    /^craft: warning: shown without pictures that are not here: [^\n]*me\/arm[^\n]*\n$/,
  );
});

it('pictures that the network kept away come at a later look', async () => {
  publish();
  using _ = vi.spyOn(patience, 'delayMs', 'get').mockReturnValue(1);
  for (const index of [0, 1]) {
    const video = `videos/${CAMERA}/chunk-000/file-00${index}.mp4`;
    expect(context.hub.files('datasets/me/arm').has(video)).toBe(true);
    context.hub.faults.set(video, { status: 503 });
  }
  const { code, err } = await view([], async (url) => {
    const blind = { status: 200, recorded: [], note: expect.stringContaining('its videos are not here') };
    expect(await episode(url, 0)).toMatchObject(blind);
    expect(await episode(url, 2)).toMatchObject({ status: 200, recorded: [CAMERA] });
    expect(await episode(url, 1)).toMatchObject(blind);
    context.hub.faults.clear();
    // The episode on display also finds files that have arrived meanwhile.
    for (const index of [1, 0]) expect(await episode(url, index)).toMatchObject({ recorded: [CAMERA] });
  });
  expect(code).toBe(0);
  expect(err.match(/shown without pictures/g)).toHaveLength(1);
});

it('what there is not is one line', async () => {
  const never = async () => expect.unreachable();
  const unknown = await view([], never);
  expect(unknown).toMatchObject({ code: 1, out: '', err: expect.stringMatching(/^craft: error: .*me\/arm/) });
  publish();
  const late = await view(['--episode=3'], never);
  expect(late).toMatchObject({ code: 2, err: expect.stringContaining('episode=3: expected 0 to 2\n') });
  expect(fetched()).toEqual([]);
});
