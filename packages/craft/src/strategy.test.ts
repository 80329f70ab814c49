import type { Policy } from '@craft-ft/policies';
import { type CraftError, getRngState, nn, rand, scope, setNumThreads, tensor } from '@craft-ft/torch';
import { DataStream, Optimization, type StepReport } from '@craft-ft/training';
import { describe, expect, test } from 'vitest';
import { goldenActPath } from '../../policies/test/act-golden.js';
import { expectScalar, loadTrace } from '../../training/test/training-trace.js';
import { type CraftConfig, craftConfigSchema } from './config.js';
import { CraftStrategy } from './strategy.js';

setNumThreads(1);

const golden = goldenActPath('trace') === null ? null : loadTrace();

/** Strategy and data of a golden run. */
function setUp(run: string, changes: Partial<CraftConfig> = {}) {
  const { trace, stream, start } = golden!;
  const h = trace.hyperparameters;
  const freq = changes.retention_freq ?? (run === 'craft_raw_dot_every' ? h.retention_freq : 1);
  const config = craftConfigSchema.parse({
    enabled: true,
    retention_freq: freq,
    initial_lambda: h.initial_lambda,
    lambda_lr: h.lambda_lr,
    lambda_max: h.lambda_max,
    epsilon_start: h.epsilon_start,
    epsilon_end: h.epsilon_end,
    epsilon_mode: 'absolute',
    retention_scale: 'event',
    conflict_threshold: h.conflict_threshold,
    conflict_metric: run === 'craft_cosine' ? 'cosine' : 'dot',
    ...changes,
  });
  const { policy, optimization } = start(run);
  const anchors = stream('retain', freq);
  const strategy = new CraftStrategy({ policy, optimization, anchors, config, steps: h.steps });
  const data = stream('task');
  const step = (i: number): StepReport => scope(() => strategy.update(i, [() => data.batch(i)]));
  return { strategy, policy, optimization, step };
}

describe.skipIf(golden === null)('20 steps of CRaFT on ACT equal the original on PyTorch', () => {
  const runs = Object.entries(golden?.trace.runs ?? {}).filter(([run]) => run.startsWith('craft'));
  expect(runs.map(([run]) => run)).toHaveLength(golden === null ? 0 : 4);

  test.each(runs)('%s', async (run, steps) => {
    const { strategy, policy, step } = setUp(run);
    await strategy.begin();
    let lambda = golden!.trace.hyperparameters.initial_lambda;
    for (const expected of steps) {
      const { loss, gradNorm, metrics, latest } = step(expected.step);
      const scalar = (found: number | undefined, key: keyof typeof expected) =>
        expectScalar(found, expected[key] as number, `step ${expected.step}: ${key}`);
      scalar(loss, 'task_loss');
      scalar(metrics.l1_loss, 'task_l1_loss');
      scalar(metrics.kld_loss, 'task_kld_loss');
      scalar(gradNorm, 'grad_norm_before_clip');
      expect(latest === undefined).toBe(expected.retention_loss === undefined);
      if (latest !== undefined) {
        scalar(latest.retention_loss, 'retention_loss');
        scalar(metrics.retention_l1_loss, 'retain_l1_loss');
        scalar(metrics.retention_kld_loss, 'retain_kld_loss');
        scalar(latest.grad_dot, 'dot');
        scalar(latest.grad_cos, 'cos');
        expect(latest.grad_conflict).toBe(expected.conflict ? 1 : 0);
        expect(latest.epsilon).toBeCloseTo(expected.epsilon, 12);
        expect(latest.lambda_used).toBe(lambda);
        scalar(latest.lambda_used, 'lambda_used');
        lambda = latest.lambda!;
      }
      scalar(strategy.lambda, 'lambda_after');
    }
    golden!.expectFinalWeights(run, policy);
    const retention = steps.filter((expected) => expected.retention_loss !== undefined);
    expect(strategy.history.map((row) => row.step)).toEqual(retention.map((expected) => expected.step));
  });

  test('the runs hold conflicts and their absence', () => {
    const flags = runs.flatMap(([, steps]) => steps.map(({ conflict }) => conflict));
    expect(new Set(flags)).toEqual(new Set([true, false, undefined]));
  });
});

describe.skipIf(golden === null)('state', () => {
  const run = 'craft_raw_dot_every';

  test('measuring the retention loss draws no random number', async () => {
    const { strategy, policy } = setUp(run);
    const forward = policy.forward.bind(policy);
    policy.forward = (batch) => {
      rand([3]);
      return forward(batch);
    };
    const before = getRngState().tolist();
    await strategy.begin();
    await strategy.summary();
    expect(getRngState().tolist()).toEqual(before);
  });

  test('relative ε multiplies the loss before the first step', async () => {
    const { strategy, step } = setUp(run, { epsilon_mode: 'relative', epsilon_start: 2, epsilon_end: 1 });
    await strategy.begin();
    const { start_retention_loss: start } = JSON.parse(strategy.stateFiles().get('craft_state.json')!);
    expect(start).toBeGreaterThan(0.1);
    expect(step(0).latest!.epsilon).toBeCloseTo(2 * start, 12);
  });

  test('is restored exactly', async () => {
    const one = setUp(run);
    await one.strategy.begin();
    for (let i = 0; i < 7; i++) one.step(i);
    const files = one.strategy.stateFiles();
    expect([...files.keys()]).toEqual(['craft_state.json', 'lambda_history.csv']);
    const { strategy: two } = setUp(run);
    two.restore((name) => files.get(name) ?? null);
    expect(two.lambda).toBe(one.strategy.lambda);
    expect(two.history).toEqual(one.strategy.history);
    expect(two.stateFiles()).toEqual(files);
    // Nothing is measured again: the constraint refers to the start of the whole run.
    await two.begin();
    expect(two.stateFiles()).toEqual(files);
  });

  test.each([
    [null, 'CRAFT_STATE_MISSING', 'craft_state.json is missing'],
    ['{"version": 1', 'CRAFT_STATE_INVALID', 'craft_state.json is not JSON'],
    ['{"version": 3, "dual": {}, "start_retention_loss": 1}', 'CRAFT_STATE_INVALID', 'version'],
    ['{"version": 1, "dual": {}, "start_retention_loss": 1}', 'CRAFT_STATE_INVALID', 'lambda'],
    [
      '{"version": 1, "start_retention_loss": 1, "dual": null}',
      'CRAFT_STATE_INVALID',
      'the state of λ and ε',
    ],
    [
      '{"version": 1, "start_retention_loss": 1, "dual": {"lambda": -1, "epsilon": 1, "updates": 1, "baselineLoss": null}}',
      'CRAFT_STATE_INVALID',
      'lambda',
    ],
  ])('%s is refused', (text, code, message) => {
    const { strategy } = setUp(run);
    let error: unknown;
    try {
      strategy.restore((name) => (name === 'craft_state.json' ? text : null));
    } catch (thrown) {
      error = thrown;
    }
    expect((error as CraftError).code).toBe(code);
    expect((error as CraftError).message).toContain(message);
    expect((error as CraftError).message).not.toContain('\n');
  });

  test('a retention loss that is NaN stops the run at its step, before anything changes', () => {
    const { strategy, policy, optimization, step } = setUp('craft_raw_dot');
    step(0);
    const before = optimization.parameters.data.tolist();
    const forward = policy.forward.bind(policy);
    let calls = 0;
    policy.forward = (batch) => {
      const output = forward(batch);
      return ++calls === 2 ? { ...output, loss: output.loss.mul(Number.NaN) } : output;
    };
    expect(() => step(1)).toThrow(/^step 2: retention loss is NaN/);
    expect(optimization.parameters.data.tolist()).toEqual(before);
    expect(strategy.history).toHaveLength(1);
  });

  test('without save_lambda_history only the state is written', () => {
    const { strategy } = setUp(run, { save_lambda_history: false });
    expect([...strategy.stateFiles().keys()]).toEqual(['craft_state.json']);
  });
});

describe('parameters that not both losses reach', () => {
  /** Task loss on the first two weights, retention loss on the middle two; nothing reaches the last. */
  class Weights extends nn.Module {
    readonly task = new nn.Parameter(tensor([1]));
    readonly both = new nn.Parameter(tensor([1]));
    readonly retain = new nn.Parameter(tensor([1]));
    readonly neither = new nn.Parameter(tensor([1]));

    override forward(batch: Record<string, unknown>) {
      const terms = 'anchor' in batch ? [this.both.neg(), this.retain] : [this.task, this.both];
      return { loss: terms[0]!.add(terms[1]!).sum(), metrics: {} };
    }

    parameterGroups() {
      return [{ parameters: this.namedParameters() }];
    }
  }

  class Anchors extends DataStream {
    override batch() {
      return { anchor: tensor([0]) };
    }
  }

  test('count as zero where they are missing, and are left alone where both are', () => {
    const model = new Weights();
    const policy = model as unknown as Policy;
    const optimization = new Optimization(
      policy,
      { type: 'adamw', lr: 0.1, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.1, grad_clip_norm: 0 },
      null,
      4,
    );
    const anchors = new Anchors(null as never, { length: 1 } as never, 1, (batch) => batch);
    const config = craftConfigSchema.parse({
      retention_freq: 2,
      initial_lambda: 0.5,
      lambda_lr: 0,
      epsilon_mode: 'absolute',
      retention_scale: 'event',
    });
    const strategy = new CraftStrategy({ policy, optimization, anchors, config, steps: 4 });
    const values = () => model.parameters().map((parameter) => parameter.item());
    const { latest, gradNorm } = scope(() => strategy.update(0, [() => ({})]));
    // g_t = (1, 1, 0), g_r = (0, -1, 1): d = -1, T = R = 2, cosine -1/2; g = g_t + g_r/2 + g_r/2 = (1, 0, 1).
    expect(latest).toMatchObject({ grad_dot: -1, grad_conflict: 1 });
    expect(latest!.grad_cos).toBeCloseTo(-0.5, 6);
    expect(gradNorm).toBeCloseTo(Math.SQRT2, 6);
    const [task, both, retain, neither] = values();
    expect(task).toBeCloseTo(0.99 - 0.1, 5);
    // Its gradient is zero, but it was reached: weight decay only.
    expect(both).toBeCloseTo(0.99, 5);
    expect(retain).toBeCloseTo(0.99 - 0.1, 5);
    expect(neither).toBe(1);
    expect(optimization.adamw.steps).toEqual([1, 1, 1, 0]);
    // Between retention steps: the baseline's step, which the retention weight has no part in.
    expect(scope(() => strategy.update(1, [() => ({})])).latest).toBeUndefined();
    expect(values().slice(2)).toEqual([retain, 1]);
    expect(optimization.adamw.steps).toEqual([2, 2, 1, 0]);
  });
});
