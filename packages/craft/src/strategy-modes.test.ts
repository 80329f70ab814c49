import { getRngState, memory, scope, setRngState } from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import { optimizationOf, RandomBatches, tinyAct } from '../test/tiny-act.js';
import { craftConfigSchema } from './config.js';
import { CraftStrategy } from './strategy.js';

const STEPS = 8;

/** A policy, its task and its anchors. */
function setUp(fields: object, accumulation = 1, also?: ConstructorParameters<typeof RandomBatches>[2]) {
  const policy = tinyAct(3);
  policy.train();
  const optimization = optimizationOf(policy);
  const anchors = new RandomBatches(4, 7, also);
  const config = craftConfigSchema.parse({ retention_freq: 2, lambda_lr: 0.5, ...fields });
  const strategy = new CraftStrategy({ policy, optimization, anchors, config, steps: STEPS, accumulation });
  const data = new RandomBatches(4, 5);
  const step = async (i: number) => {
    await strategy.ready(i);
    const batches = Array.from({ length: accumulation }, (_, k) => () => data.batch(i * accumulation + k));
    return scope(() => strategy.update(i, batches));
  };
  const weights = () => policy.parameters().map((parameter) => parameter.tolist());
  return { policy, optimization, strategy, step, weights, anchors, data };
}

const MODES: [string, object][] = [
  ['loss', {}],
  ['hidden', { retention_mode: 'hidden' }],
  [
    'hidden, l1 of several layers and poolings',
    {
      retention_mode: 'hidden',
      hidden_layers: [0, -1],
      hidden_poolings: ['mean_masked', 'last_token'],
      hidden_loss: 'l1',
    },
  ],
  ['feature, cosine', { retention_mode: 'feature', hidden_poolings: ['cls_token'], hidden_loss: 'cosine' }],
  ['action', { retention_mode: 'action' }],
  ['several', { retention_modes: { loss: 1, hidden: 0.5, action: 2 }, retention_reduction: 'sum' }],
  [
    'PID, stale projection, per module',
    {
      lambda_controller: 'pid',
      lambda_kd: 1,
      stale_projection: true,
      surgery_granularity: 'module',
      conflict_threshold: 1.5,
    },
  ],
  ['CAGrad per tensor', { surgery: 'cagrad', surgery_granularity: 'tensor' }],
];

describe.each(MODES)('%s', (_, fields) => {
  test('holds the old task better than without', async () => {
    const drift = async (more: object) => {
      const run = setUp({ ...fields, ...more });
      await run.strategy.begin();
      for (let i = 0; i < STEPS; i++) await run.step(i);
      return (await run.strategy.report())!;
    };
    const hard = {
      epsilon_start: 0,
      epsilon_end: 0,
      epsilon_mode: 'absolute',
      initial_lambda: 50,
      lambda_max: 100,
      retention_freq: 1,
    };
    const free = await drift({
      initial_lambda: 0,
      lambda_lr: 0,
      lambda_kp: 0,
      lambda_kd: 0,
      use_grad_projection: false,
      stale_projection: false,
    });
    const held = await drift(hard);
    expect(held.retention.now).toBeLessThan(free.retention.now!);
    expect(held.lambda.now).toBeGreaterThan(1);
    expect(held.task.before).toBeGreaterThan(0);
  });

  test('goes on exactly where it stopped, weights, λ and history', async () => {
    const whole = setUp(fields);
    await whole.strategy.begin();
    for (let i = 0; i < STEPS; i++) await whole.step(i);

    const first = setUp(fields);
    await first.strategy.begin();
    // Between two retention steps.
    for (let i = 0; i < 4; i++) await first.step(i);
    const random = getRngState();
    const files = first.strategy.stateFiles();
    const tensors = new Map(
      [...first.strategy.stateTensors()].map(([name, map]) => [
        name,
        new Map([...map].map(([key, value]) => [key, value.clone()])),
      ]),
    );
    const second = setUp(fields);
    second.policy.loadStateDict(first.policy.stateDict());
    second.optimization.adamw.loadStateDict(first.optimization.adamw.stateDict());
    second.strategy.restore(
      (name) => files.get(name) ?? null,
      (name) => tensors.get(name) ?? null,
    );
    expect(await second.strategy.begin()).toEqual([]);
    setRngState(random);
    for (let i = 4; i < STEPS; i++) await second.step(i);
    expect(second.strategy.history).toHaveLength(whole.strategy.history.length);
    expect(second.strategy.lambda).toBe(whole.strategy.lambda);
    expect(second.strategy.history).toEqual(whole.strategy.history);
    expect(second.weights()).toEqual(whole.weights());
  });

  test('leaves no tensor behind', async () => {
    const { strategy, step } = setUp(fields);
    await strategy.begin();
    const counts: number[] = [];
    for (let i = 0; i < STEPS; i++) {
      await step(i);
      counts.push(memory().tensors);
    }
    expect(counts[7]).toBeLessThanOrEqual(counts[3]!);
    expect(counts[6]).toBeLessThanOrEqual(counts[2]!);
  });

  test('leaves every module in the mode it was in', async () => {
    const { policy, strategy, step } = setUp(fields);
    policy.model.encoder.eval();
    const modes = () => policy.namedModules().map(([name, module]) => `${name} ${module.training}`);
    const before = modes();
    await strategy.begin();
    await step(0);
    expect(modes()).toEqual(before);
    expect(policy.training).toBe(true);
  });
});
