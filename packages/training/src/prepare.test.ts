import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { FrameLoader } from '../../datasets/src/loader/frame-loader.js';
import { CAMERA, makeCameraTask } from '../../datasets/test/cameras.js';
import { makeTask, runConfig, testFolder } from '../test/training.js';
import { BaselineStrategy } from './baseline.js';
import type { TrainingData } from './data-stream.js';
import { train } from './loop.js';
import type { StrategyContext } from './method.js';
import { type DataSummary, type PolicySummary, prepareTraining } from './prepare.js';

const folder = testFolder();
const data = makeTask(join(folder, 'data'));
const configure = (run: string, more: object = {}) =>
  runConfig(data, join(folder, run), { steps: 2, save_freq: 1, log_freq: 0, ...more });

class Anchors implements TrainingData {
  readonly batchSize = 1;
  readonly framesPerEpoch = 1;
  closed = 0;
  async ready(): Promise<void> {}
  batch = () => ({});
  async close(): Promise<void> {
    this.closed++;
  }
}

test('tells what the run learns from and what it trains', async () => {
  let [seen, trained]: [DataSummary | null, PolicySummary | null] = [null, null];
  const run = await prepareTraining(configure('told'), {
    onData: (summary) => {
      seen = summary;
    },
    onPolicy: (summary) => {
      trained = summary;
    },
  });
  await run.close();
  expect(seen).toMatchObject({ episodes: 4, frames: 48, computedStats: [] });
  expect(seen!.features.map(({ policyKey }) => policyKey)).toEqual(['observation.state', 'action']);
  expect(trained).toEqual({
    type: 'act',
    device: 'cpu',
    trainableParameters: run.policy.parameters().reduce((sum, { numel }) => sum + numel, 0),
  });
});

describe('what was opened is closed', () => {
  test('when the method fails after its anchors were opened', async () => {
    const anchors = new Anchors();
    const makeStrategy = async ({ keep }: StrategyContext) => {
      keep(anchors);
      throw new Error('no such teacher');
    };
    await expect(prepareTraining(configure('method'), { makeStrategy })).rejects.toThrow('no such teacher');
    expect(anchors.closed).toBe(1);
  });

  test('when the checkpoint cannot be restored', async () => {
    await train(await prepareTraining(configure('broken')));
    const checkpoint = join(folder, 'broken/checkpoints/000001');
    rmSync(join(checkpoint, 'training_state/optimizer_state.safetensors'));
    const anchors = new Anchors();
    const makeStrategy = async ({ keep, policy, optimization }: StrategyContext) => {
      keep(anchors);
      return new BaselineStrategy(policy, optimization);
    };
    const options = { makeStrategy, resumeFrom: checkpoint };
    await expect(prepareTraining(configure('broken'), options)).rejects.toThrow('optimizer_state');
    expect(anchors.closed).toBe(1);
  });
});

describe('worker threads', () => {
  const seen = join(folder, 'cameras');
  beforeAll(() => makeCameraTask(seen));

  test('end where a later phase fails', async () => {
    const close = vi.spyOn(FrameLoader.prototype, 'close');
    const checkpoint = join(folder, 'seeing/checkpoints/000001');
    const config = runConfig(seen, join(folder, 'seeing'), {
      policy: {
        ...{ type: 'act', vision_backbone: 'resnet18_narrow', pretrained_backbone_weights: null },
        ...{ chunk_size: 4, n_action_steps: 4, dim_model: 8, n_heads: 1, dim_feedforward: 8 },
      },
      dataset: { repo_id: 'test/data', root: seen, cameras: [CAMERA] },
      steps: 1,
      num_workers: 1,
    });
    const run = await prepareTraining(config);
    await train(run);
    await run.close();
    expect(close).toHaveBeenCalledTimes(1);
    rmSync(join(checkpoint, 'training_state/rng_state.safetensors'));
    await expect(prepareTraining(config, { resumeFrom: checkpoint })).rejects.toThrow('rng_state');
    expect(close).toHaveBeenCalledTimes(2);
  });
});
