import {
  attachLora,
  loraSettings,
  Pi0FastPolicy,
  peftConfigSchema,
  type TensorBatch,
} from '@craft-ft/policies';
import { getRngState, manualSeed, scope, setNumThreads, setRngState, zeros } from '@craft-ft/torch';
import { Optimization, type TrainingData } from '@craft-ft/training';
import { describe, expect, test } from 'vitest';
import { smallBatch, smallConfig } from '../../policies/test/pi0-fast-small.js';
import { craftConfigSchema } from '../src/config.js';
import { TokenTerm } from '../src/retention/terms.js';
import { CraftStrategy } from '../src/strategy.js';

setNumThreads(1);

/** One batch, again and again: of the old task's, or the new one's. */
class One implements TrainingData {
  readonly batchSize = 2;
  readonly framesPerEpoch = 2;
  readonly #batch: TensorBatch;

  constructor(seed: number) {
    const before = getRngState();
    manualSeed(seed);
    this.#batch = smallBatch();
    setRngState(before);
  }

  async ready(): Promise<void> {}
  batch(): TensorBatch {
    return this.#batch;
  }
  async close(): Promise<void> {}
}

function setUp(fields: object, { lora = false, changes = {} } = {}) {
  manualSeed(1);
  const policy = new Pi0FastPolicy(smallConfig(changes));
  if (lora) attachLora(policy, loraSettings(peftConfigSchema.parse({ r: 4 }), 'pi0_fast', '/base'));
  policy.train();
  const optimizer = {
    type: 'adamw',
    lr: 1e-3,
    betas: [0.9, 0.95],
    eps: 1e-8,
    weight_decay: 0,
    grad_clip_norm: 1,
  } as const;
  const optimization = new Optimization(policy, { ...optimizer, betas: [0.9, 0.95] }, null, 10);
  const config = craftConfigSchema.parse({ retention_freq: 1, initial_lambda: 5, ...fields });
  const strategy = new CraftStrategy({ policy, optimization, anchors: new One(2), config, steps: 10 });
  const data = new One(3);
  const step = (i: number) => scope(() => strategy.update(i, [() => data.batch()]));
  return { policy, optimization, strategy, step };
}

const HIDDEN = {
  retention_mode: 'hidden',
  hidden_layers: [-2, -1],
  hidden_poolings: ['mean_image_tokens', 'last_token'],
};

describe.each([
  ['loss', {}],
  ['token_ce', { retention_mode: 'token_ce' }],
  ['hidden', HIDDEN],
  ['feature', { retention_mode: 'feature' }],
  ['several', { retention_modes: { token_ce: 1, hidden: 3 } }],
])('%s on pi0_fast', (_, fields) => {
  test.each([
    ['whole', {}],
    ['adapters only', { lora: true }],
    ['gradient checkpointing', { changes: { gradient_checkpointing: true } }],
    ['adapters and gradient checkpointing', { lora: true, changes: { gradient_checkpointing: true } }],
  ])('%s', async (__, how) => {
    const { policy, optimization, strategy, step } = setUp(fields, how);
    const names = optimization.parameters.entries.map(({ name }) => name);
    expect(names.every((name) => name.includes('lora_'))).toBe('lora' in how);
    const frozen = policy
      .namedParameters()
      .filter(([name]) => !names.includes(name))
      .map(([name, parameter]) => [name, parameter.clone()] as const);
    await strategy.begin();
    const reports = [0, 1, 2].map(step);
    for (const { latest, loss } of reports) {
      expect(Number.isFinite(loss)).toBe(true);
      expect(Number.isFinite(latest!.retention_loss)).toBe(true);
    }
    // The first step is the teacher's own place: what compares with it has nothing to say yet, and then has.
    expect(reports[2]!.latest!.retention_loss).toBeGreaterThan(0);
    for (const [name, before] of frozen)
      expect([name, before.equal(policy.stateDict().get(name)!)]).toEqual([name, true]);
    expect(policy.training).toBe(true);
  });
});

test('checkpointing changes no number of a step', async () => {
  const run = async (gradient_checkpointing: boolean) => {
    const { strategy, step, optimization } = setUp(HIDDEN, { changes: { gradient_checkpointing } });
    await strategy.begin();
    const reports = [0, 1]
      .map(step)
      .map(({ gradNorm, latest }) => [gradNorm, latest!.retention_loss, latest!.grad_dot]);
    return [...reports.flat(), optimization.parameters.data.abs().sum().item()];
  };
  const [plain, checkpointed] = [await run(false), await run(true)];
  plain.forEach((value, i) => {
    expect(Math.abs(checkpointed[i]! - value)).toBeLessThanOrEqual(1e-4 * Math.max(1, Math.abs(value)));
  });
});

test("a teacher's tokens take the place of the recorded ones", async () => {
  const { policy, strategy } = setUp({ retention_mode: 'token_ce' });
  await strategy.begin();
  const batch = new One(2).batch();
  const other = { ...batch, 'anchor.token_labels': zeros([2, 6], { dtype: 'int64' }).add(7) };
  const term = new TokenTerm('mean');
  const of = (given: TensorBatch) => scope(() => term.loss(policy, given).loss.item());
  const mask = zeros([2, 6]).eq(0);
  expect(of({ ...other, 'anchor.token_mask': mask })).toBeCloseTo(
    of({ ...batch, 'action.tokens': other['anchor.token_labels'], 'action.token_mask': mask }),
    6,
  );
  expect(of({ ...other, 'anchor.token_mask': mask })).not.toBeCloseTo(of(batch), 3);
});

test('actions, which are tokens here, cannot be distilled: the run does not start', async () => {
  const { strategy } = setUp({ retention_mode: 'action' });
  await expect(strategy.begin()).rejects.toMatchObject({ code: 'POLICY_NO_ACTION_GRAPH' });
});
