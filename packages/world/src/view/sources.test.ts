import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Policy, PolicyProcessors, ProcessorPipeline, parsePolicyConfig } from '@craft-ft/policies';
import { type Tensor, zeros } from '@craft-ft/torch';
import { afterAll, expect, test } from 'vitest';
import { Simulation } from '../engine/simulation.js';
import { recordDataset } from '../record-dataset.js';
import { TABLETOP_XML } from '../tabletop/scene.js';
import { TASKS } from '../tabletop/tasks.js';
import { environmentState, TabletopView } from '../tabletop/view.js';
import { datasetSource, placeRecorded } from './dataset-source.js';
import { expertSource, policySource } from './episode-sources.js';
import { showFrame } from './view-episode.js';

const folder = mkdtempSync(join(tmpdir(), 'craft-sources-'));
afterAll(() => rmSync(folder, { recursive: true }));
const never = new AbortController().signal;

test("an expert's episode can be shown elsewhere: its last frame is a success, and the first is not", async () => {
  const request = { task: 'press-button', seed: 3, episode: 0 } as const;
  const episode = await expertSource().load(request, never);
  expect(episode).toMatchObject({
    task: 'press-button',
    instruction: 'Press the button',
    fps: 25,
    success: true,
  });
  using simulation = await Simulation.create(TABLETOP_XML);
  const view = new TabletopView(simulation);
  const done = episode.frames.map((frame) => {
    showFrame(simulation, episode.mocap, frame);
    return TASKS['press-button'].done(view);
  });
  expect(done.at(-1)).toBe(true);
  expect(done.slice(0, -1)).not.toContain(true);
});

test('an episode that nobody waits for is given up', async () => {
  const request = { task: 'lift', seed: 0, episode: 0 } as const;
  await expect(expertSource().load(request, AbortSignal.abort())).rejects.toMatchObject({
    code: 'VIEW_STOPPED',
  });
});

/** Wants all joints at zero. */
class Still extends Policy {
  constructor(state: number) {
    const input_features = { 'observation.state': { type: 'STATE', shape: [state] } };
    const output_features = { action: { type: 'ACTION', shape: [6] } };
    super(parsePolicyConfig({ type: 'act', input_features, output_features }, 'test'));
  }

  override selectAction(): Tensor {
    return zeros([1, 6]);
  }

  override forward(): never {
    throw new Error('not called');
  }

  override predictActionChunk(): never {
    throw new Error('not called');
  }

  override parameterGroups() {
    return [];
  }

  override reset(): void {}
}

test("a policy's rollout is shown to its end, and one of another robot is refused", async () => {
  const nothing = (name: string) => new ProcessorPipeline(name, []);
  const processors = new PolicyProcessors(nothing('before'), nothing('after'));
  const source = await policySource({ policy: new Still(6), processors, name: 'still' });
  const { success, frames } = await source.load({ task: 'lift', seed: 1000, episode: 0 }, never);
  expect([success, frames.length]).toEqual([false, 151]);
  expect(frames[150]!.ctrl.slice(0, 5)).toEqual([0, 0, 0, 0, 0]);
  await expect(policySource({ policy: new Still(26), processors, name: 'other' })).rejects.toMatchObject({
    code: 'POLICY_ENVIRONMENT',
  });
});

test('a recording is shown as it was: the arm, the things and the pictures', async () => {
  const root = join(folder, 'recorded');
  const cameras = ['top'];
  await recordDataset({
    tasks: ['push-left', 'place-in-red-bin'],
    episodes: 1,
    repoId: 'me/recorded',
    root,
    cameras,
    imageSize: [24, 32],
    video: false,
    noise: 0,
    workers: 0,
  });
  const source = await datasetSource(root);
  const expert = expertSource();
  for (const [episode, task, seed] of [
    [0, 'push-left', 0],
    [1, 'place-in-red-bin', 100_000],
  ] as const) {
    const shown = await source.load({ task, seed: 0, episode }, never);
    const lived = await expert.load({ task, seed, episode }, never);
    expect(shown).toMatchObject({ task, success: null, note: null, recorded: ['observation.images.top'] });
    expect(shown.frames.length).toBe(lived.frames.length - 1);
    using simulation = await Simulation.create(TABLETOP_XML);
    const view = new TabletopView(simulation);
    const look = ({ mocap, frames }: typeof shown, frame: number) => {
      showFrame(simulation, mocap, frames[frame]!);
      return [...view.state(), ...environmentState(view), view.fixture('zones')[2] > -0.1 ? 1 : 0];
    };
    for (const frame of [0, 10, shown.frames.length - 1]) {
      const [found, expected] = [look(shown, frame), look(lived, frame)];
      found.forEach((value, i) => {
        expect(value).toBeCloseTo(expected[i]!, 3);
      });
    }
  }
  const picture = await source.picture!(1, 5, 'observation.images.top');
  expect([picture.width, picture.height, picture.rgb.length]).toEqual([32, 24, 32 * 24 * 3]);
  await expect(source.picture!(1, 5, 'side')).rejects.toMatchObject({ code: 'VIEW_PICTURE' });
  await expect(source.load({ task: 'lift', seed: 0, episode: 2 }, never)).rejects.toMatchObject({
    code: 'DATASET_EPISODES',
  });
  await source.close();
});

test('what a dataset does not tell of is put away, and counts as no success', async () => {
  using simulation = await Simulation.create(TABLETOP_XML);
  const view = new TabletopView(simulation);
  placeRecorded(view, { state: [0, 0, 0, 0, 0, 50], things: {} });
  simulation.forward();
  // The last five numbers are the hand's.
  expect([...environmentState(view)].slice(0, -5).some((value) => value !== 0)).toBe(false);
  expect(Object.values(TASKS).some(({ done }) => done(view))).toBe(false);
});
