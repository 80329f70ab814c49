import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { VideoReader } from '@craft-ft/datasets';
import {
  Policy,
  type PolicyOutput,
  PolicyProcessors,
  ProcessorPipeline,
  parsePolicyConfig,
  type TensorBatch,
} from '@craft-ft/policies';
import { type Tensor, tensor } from '@craft-ft/torch';
import { describe, expect, it, vi } from 'vitest';
import { demonstrate } from '../demonstrate.js';
import { makeEnvironment } from '../make-environment.js';
import { evaluatePolicy } from './evaluate-policy.js';

const STATE = { 'observation.state': { type: 'STATE', shape: [6] } };

/** Plays back actions per row of the batch, the last one again and again. */
class Replay extends Policy {
  readonly batches: [string, number[]][] = [];
  #episode = -1;
  #step = 0;

  constructor(
    readonly rows: readonly (readonly Float32Array[])[][],
    inputs: object = STATE,
    action = 6,
  ) {
    super(
      parsePolicyConfig(
        {
          type: 'act',
          input_features: inputs,
          output_features: { action: { type: 'ACTION', shape: [action] } },
        },
        'test',
      ),
    );
  }

  override forward(): PolicyOutput {
    throw new Error('not called');
  }

  override predictActionChunk(): Tensor {
    throw new Error('not called');
  }

  override parameterGroups() {
    return [];
  }

  override selectAction(batch: TensorBatch): Tensor {
    const rows = this.rows[this.#episode]!;
    this.batches.push(
      ...Object.entries(batch).map(([key, { shape }]): [string, number[]] => [key, [...shape]]),
    );
    const step = this.#step++;
    return tensor(rows.map((row) => [...row[Math.min(step, row.length - 1)]!]));
  }

  override reset(): void {
    this.#episode++;
    this.#step = 0;
  }
}

const processors = new PolicyProcessors(
  new ProcessorPipeline('before', []),
  new ProcessorPipeline('after', []),
);

/** The expert's actions for the starts of some seeds. */
async function demonstrations(task: string, seeds: readonly number[]): Promise<Float32Array[][]> {
  const environment = await makeEnvironment({ task });
  const rows = seeds.map((seed) => {
    const { actions, length } = demonstrate(environment, { seed, attempts: 1 });
    return Array.from({ length }, (_, i) => actions.slice(6 * i, 6 * i + 6));
  });
  environment.dispose();
  return rows;
}

const still = (count: number) => Array.from({ length: count }, () => [new Float32Array(6)]);

describe('evaluatePolicy', () => {
  it('runs episodes side by side, the last batch smaller, and counts what succeeds', async () => {
    const expert = await demonstrations('press-button', [1000, 1001, 1002]);
    // The third start of the first batch is left alone; so is all of the second batch.
    const policy = new Replay([[...expert.slice(0, 2), ...still(1)], still(2)]);
    const seen: number[] = [];
    const result = await evaluatePolicy({
      policy,
      processors,
      tasks: ['press-button'],
      nEpisodes: 5,
      batchSize: 3,
      workers: 2,
      onProgress: ({ episodes }) => void seen.push(episodes),
    });
    const [task] = result.per_task;
    expect(task!.per_episode.map(({ success }) => success)).toEqual([true, true, false, false, false]);
    expect(task!.per_episode.map(({ seed }) => seed)).toEqual([1000, 1001, 1002, 1003, 1004]);
    expect(task!.per_episode[0]).toMatchObject({
      steps: expert[0]!.length,
      sum_reward: 1,
      achieved: ['press-button'],
    });
    expect(task!.per_episode[2]).toMatchObject({ steps: 150, sum_reward: 0, achieved: [] });
    expect(task!.pc_success).toBe(40);
    expect(task!.pc_success_interval[0]).toBeCloseTo(11.76, 1);
    expect(result.overall).toMatchObject({ n_episodes: 5, successes: 2 });
    expect(seen).toEqual([1, 2, 3, 4, 5]);
    expect(result.interrupted).toBe(false);
    expect(policy.batches[0]).toEqual(['observation.state', [3, 6]]);
  });

  it('tells which other task was done instead', async () => {
    const toBlue = await demonstrations('place-in-blue-bin', [7]);
    const policy = new Replay([toBlue]);
    const options = { policy, processors, tasks: ['place-in-red-bin'], nEpisodes: 1, seed: 7, workers: 0 };
    const { per_task } = await evaluatePolicy(options);
    expect(per_task[0]!.per_episode[0]).toMatchObject({ success: false, achieved: ['place-in-blue-bin'] });
  });

  it('shows the cameras that the policy wants, in its size, and films', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'eval-'));
    const inputs = { ...STATE, 'observation.images.cam': { type: 'VISUAL', shape: [3, 12, 10] } };
    const policy = new Replay([still(2)], inputs);
    const { per_task } = await evaluatePolicy({
      policy,
      processors,
      tasks: ['press-button'],
      nEpisodes: 2,
      renameMap: { 'observation.images.top': 'observation.images.cam' },
      videos: { folder, episodes: [1], size: [32, 48] },
      workers: 0,
    });
    expect(policy.batches[1]).toEqual(['observation.images.cam', [2, 3, 12, 10]]);
    const [first, second] = per_task[0]!.per_episode;
    expect(first!.video).toBeNull();
    expect(second!.video).toBe(join(folder, 'press-button', 'eval_episode_1.mp4'));
    expect(existsSync(second!.video!)).toBe(true);
    const video = await VideoReader.open(second!.video!);
    expect([video.width, video.height]).toEqual([48, 32]);
    await video.close();
    rmSync(folder, { recursive: true });
  });

  it('refuses policies that do not fit, naming every difference', async () => {
    const inputs = {
      'observation.state': { type: 'STATE', shape: [7] },
      'observation.images.cam': { type: 'VISUAL', shape: [3, 8, 8] },
    };
    const policy = new Replay([], inputs, 2);
    const options = { policy, processors, tasks: ['lift'], workers: 0 };
    await expect(evaluatePolicy(options)).rejects.toMatchObject({
      code: 'POLICY_ENVIRONMENT',
      message: expect.stringMatching(
        /"observation.state" has shape \[6\] here, the policy's is \[7\]; the environment has no "observation.images.cam"; actions have shape \[6\] here, the policy's \[2\]/,
      ),
    });
    const fits = { ...options, policy: new Replay([]) };
    await expect(evaluatePolicy({ ...fits, nEpisodes: 0 })).rejects.toMatchObject({ code: 'EVAL_OPTIONS' });
    await expect(evaluatePolicy({ ...fits, tasks: ['juggle'] })).rejects.toMatchObject({ code: 'ENV_TASK' });
    const broken = new Replay([[[new Float32Array(6).fill(Number.NaN)]]]);
    await expect(evaluatePolicy({ ...fits, policy: broken, nEpisodes: 1 })).rejects.toMatchObject({
      code: 'ENV_ACTION',
      message: expect.stringMatching(
        /^lift, episode 0 \(seed 1000\), step 0: the policy's action has shoulder_pan\S* = NaN; /,
      ),
    });
  });

  it('stops when it is told to: only tasks that are done count', async () => {
    const expert = await demonstrations('press-button', [1000, 1001]);
    const stop = new AbortController();
    const result = await evaluatePolicy({
      policy: new Replay([expert, still(2)]),
      processors,
      tasks: ['press-button', 'lift'],
      nEpisodes: 2,
      workers: 0,
      onProgress: ({ episodes }) => episodes === 2 && stop.abort(),
      signal: stop.signal,
    });
    expect(result).toMatchObject({ interrupted: true, overall: { n_episodes: 2, successes: 2 } });
    expect(result.per_task.map(({ task }) => task)).toEqual(['press-button']);
    const none = await evaluatePolicy({
      policy: new Replay([still(1)]),
      processors,
      tasks: ['lift'],
      nEpisodes: 1,
      workers: 0,
      signal: AbortSignal.abort(),
    });
    expect(none).toMatchObject({ per_task: [], overall: { n_episodes: 0, pc_success: 0 } });
    expect(none.overall.pc_success_interval).toEqual([0, 100]);
  });

  it('keeps the video that was there until the new one is complete', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'eval-'));
    mkdirSync(join(folder, 'lift'));
    const old = join(folder, 'lift', 'eval_episode_0.mp4');
    writeFileSync(old, 'an earlier one');
    const nan = new Float32Array(6).fill(Number.NaN);
    const options = {
      processors,
      tasks: ['lift'],
      nEpisodes: 1,
      videos: { folder, episodes: 1, size: [32, 32] as const },
      workers: 0,
    };
    const broken = new Replay([[[new Float32Array(6), nan]]]);
    await expect(evaluatePolicy({ ...options, policy: broken })).rejects.toMatchObject({
      code: 'ENV_ACTION',
    });
    expect(readdirSync(join(folder, 'lift'))).toEqual(['eval_episode_0.mp4']);
    expect(readFileSync(old, 'utf8')).toBe('an earlier one');
    await evaluatePolicy({ ...options, policy: new Replay([still(1)]) });
    expect(readdirSync(join(folder, 'lift'))).toEqual(['eval_episode_0.mp4']);
    expect(readFileSync(old).length).toBeGreaterThan(1000);
    rmSync(folder, { recursive: true });
  });

  it('shows each camera in the size that the policy wants', async () => {
    const inputs = {
      ...STATE,
      'observation.images.top': { type: 'VISUAL', shape: [3, 12, 10] },
      'observation.images.wrist': { type: 'VISUAL', shape: [3, 8, 6] },
    };
    const policy = new Replay([still(1)], inputs);
    await evaluatePolicy({ policy, processors, tasks: ['lift'], nEpisodes: 1, workers: 0 });
    expect(policy.batches.slice(1, 3)).toEqual([
      ['observation.images.top', [1, 3, 12, 10]],
      ['observation.images.wrist', [1, 3, 8, 6]],
    ]);
  });

  it('a renamed camera takes the place of the one whose name it gets', async () => {
    const top = 'observation.images.top';
    const front = 'observation.images.front';
    const inputs = { ...STATE, [front]: { type: 'VISUAL', shape: [3, 12, 10] } };
    const frames: Tensor[] = [];
    const policy = new Replay([still(1), still(1)], inputs);
    vi.spyOn(policy, 'selectAction').mockImplementation((batch) => {
      frames.push(batch[front]!.clone().keep());
      return tensor([[0, 0, 0, 0, 0, 0]]);
    });
    const options = { policy, processors, tasks: ['lift'], nEpisodes: 1, workers: 0 };
    const first = async (renameMap: Record<string, string>) => {
      frames.length = 0;
      await evaluatePolicy({ ...options, renameMap });
      return frames[0]!.tolist();
    };
    const environment = await makeEnvironment({ task: 'lift', cameras: ['top'], imageSize: [12, 10] });
    const seen = environment.reset(1000).observation[top]!;
    environment.dispose();
    const red = Array.from({ length: 12 }, (_, y) =>
      Array.from({ length: 10 }, (_, x) => Math.fround(seen[3 * (10 * y + x)]! / 255)),
    );
    expect(((await first({ [top]: front })) as number[][][][])[0]![0]).toEqual(red);
    expect(((await first({})) as number[][][][])[0]![0]).not.toEqual(red);
    await expect(
      evaluatePolicy({ ...options, renameMap: { [top]: front, 'observation.images.side': front } }),
    ).rejects.toMatchObject({
      code: 'POLICY_ENVIRONMENT',
      message: expect.stringContaining('would be called'),
    });
  });
});
