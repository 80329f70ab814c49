import {
  ActPolicy,
  makeProcessors,
  Policy,
  PolicyProcessors,
  ProcessorPipeline,
  parsePolicyConfig,
  type TensorBatch,
} from '@craft-ft/policies';
import { full, manualSeed, ones, type Tensor, tensor, zeros } from '@craft-ft/torch';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { smallAct } from '../../../policies/test/act-small.js';
import { demonstrate } from '../demonstrate.js';
import { RayCamera } from '../engine/camera.js';
import { makeEnvironment } from '../make-environment.js';
import { VectorEnvironment } from '../vector-environment.js';
import { type Actor, rollout } from './rollout.js';

afterEach(() => void vi.restoreAllMocks());

const features = {
  input_features: {
    'observation.state': { type: 'STATE', shape: [6] },
    'observation.images.top': { type: 'VISUAL', shape: [3, 32, 32] },
  },
  output_features: { action: { type: 'ACTION', shape: [6] } },
};
const SEEDS = [1000, 1001];

/** Results, images rendered and actions executed in the episodes of an actor. */
async function episodes(actor: Actor) {
  const cameras = ['top'];
  const environments = await VectorEnvironment.create(
    { task: 'press-button', cameras, imageSize: [32, 32] },
    SEEDS.length,
    { workers: 0 },
  );
  const draw = vi.spyOn(RayCamera.prototype, 'render');
  const step = vi.spyOn(environments, 'step');
  try {
    const results = await rollout(actor, environments, {
      first: 0,
      seeds: SEEDS,
      renameMap: {},
      videos: null,
    });
    if (results === null) throw new Error('given up');
    const actions = step.mock.calls.map(([given]) => given.map((row) => row && Array.from(row)));
    return { results, actions, drawn: draw.mock.calls.length };
  } finally {
    vi.restoreAllMocks();
    await environments.close();
  }
}

const nothing = (name: string) => new ProcessorPipeline(name, []);

/** Looks at every third observation, and executes given actions whatever it sees. */
class EveryThird extends Policy {
  readonly seen: string[] = [];
  #step = 0;

  constructor(
    readonly rows: readonly (readonly Float32Array[])[],
    readonly tells: boolean,
  ) {
    super(parsePolicyConfig({ type: 'act', ...features }, 'test'));
  }

  override selectAction(batch: TensorBatch): Tensor {
    if (this.#step % 3 === 0) {
      const { 'observation.state': state, 'observation.images.top': top } = batch;
      this.seen.push(JSON.stringify([state!.tolist(), top!.tolist()]));
    }
    const step = this.#step++;
    return tensor(this.rows.map((row) => [...row[Math.min(step, row.length - 1)]!]));
  }

  override get queuedActions(): number {
    return this.tells ? 2 - ((this.#step + 2) % 3) : 0;
  }

  override reset(): void {
    this.#step = 0;
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
}

describe('rollout draws pictures only where the policy looks', () => {
  it('with the same actions and results of ACT', async () => {
    const ran = async (tells: boolean, n_action_steps: number) => {
      manualSeed(4);
      const config = smallAct({
        ...features,
        n_action_steps,
        vision_backbone: 'resnet18_narrow',
        pretrained_backbone_weights: null,
      });
      const policy = new ActPolicy(config);
      if (!tells) vi.spyOn(policy, 'queuedActions', 'get').mockReturnValue(0);
      const stats = new Map([
        ['observation.state.mean', zeros([6])],
        ['observation.state.std', full([6], 90)],
        ['observation.images.top.mean', zeros([3, 1, 1])],
        ['observation.images.top.std', ones([3, 1, 1])],
        ['action.mean', tensor([0, -5, 4, 91, 0, 50])],
        ['action.std', full([6], 9)],
      ]);
      const processors = makeProcessors(config, stats);
      return episodes({ policy, processors });
    };
    const { drawn, ...saving } = await ran(true, 3);
    const { drawn: drawnAlways, ...always } = await ran(false, 3);
    expect(saving).toEqual(always);
    // 150 steps each: the start, 49 later predictions, and the last observation.
    expect(drawnAlways).toBe(2 * 151);
    expect(drawn).toBe(2 * 51);
    expect((await ran(true, 1)).drawn).toBe(2 * 151);
  });

  it('and what it sees is complete, also of episodes that are over', async () => {
    const environment = await makeEnvironment({ task: 'press-button' });
    const { actions, length } = demonstrate(environment, { seed: SEEDS[0]!, attempts: 1 });
    environment.dispose();
    const rows = [Array.from({ length }, (_, i) => actions.slice(6 * i, 6 * i + 6)), [new Float32Array(6)]];
    const ran = async (tells: boolean) => {
      const policy = new EveryThird(rows, tells);
      const processors = new PolicyProcessors(nothing('before'), nothing('after'));
      const { results } = await episodes({ policy, processors });
      return { results, seen: policy.seen };
    };
    const saving = await ran(true);
    expect(saving.results.map(({ success }) => success)).toEqual([true, false]);
    expect(saving.seen.length).toBe(50);
    expect(saving).toEqual(await ran(false));
  });
});
