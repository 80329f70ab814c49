import { noGrad, optim, scope, type Tensor, tensor } from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import { optimizationOf, RandomBatches, tinyAct } from '../test/tiny-act.js';
import { craftConfigSchema } from './config.js';
import { CraftStrategy } from './strategy.js';

/** A strategy whose gradients can be seen: what the optimiser is given is noted instead of applied. */
async function setUp(fields: object, { accumulation = 1, batchSize = 4, dropout = 0.1 } = {}) {
  const policy = tinyAct(3, { dropout, use_vae: dropout > 0 });
  policy.train();
  const optimization = optimizationOf(policy);
  const given: { flat: Tensor; other: Tensor | null; a: unknown; b: unknown; norm?: number }[] = [];
  optimization.apply = (
    _step: number,
    gradient: optim.FlatGradient | optim.CombinedGradient,
    norm?: number,
  ) => {
    const noted = (flat: Tensor) => flat.clone().keep();
    if ('flat' in gradient) given.push({ flat: noted(gradient.flat), other: null, a: 1, b: 0, norm });
    else {
      const { first, second, a, b } = gradient;
      given.push({ flat: noted(first.flat), other: noted(second.flat), a, b, norm });
    }
    return { gradNorm: norm ?? optim.gradNorm(given.at(-1)!.flat), lr: 0 };
  };
  const anchors = new RandomBatches(batchSize, 7);
  const config = craftConfigSchema.parse({ retention_freq: 3, ...fields });
  const strategy = new CraftStrategy({ policy, optimization, anchors, config, steps: 9, accumulation });
  await strategy.begin();
  anchors.asked.length = 0;
  const data = new RandomBatches(batchSize, 5);
  const step = async (i: number) => {
    await strategy.ready(i);
    const batches = Array.from({ length: accumulation }, (_, k) => () => data.batch(i * accumulation + k));
    const report = scope(() => strategy.update(i, batches));
    return { report, ...given.at(-1)! };
  };
  return { strategy, step, anchors, data };
}

const dot = (x: Tensor, y: Tensor) => x.mul(y).sum().item();

describe('stale projection', () => {
  test('between retention steps nothing opposes the last retention gradient, which is not added', async () => {
    // Above 1: always.
    const { step, anchors } = await setUp({ stale_projection: true, conflict_threshold: 1.5 });
    const first = await step(0);
    const second = await step(1);
    expect(second.other!.equal(first.other!)).toBe(true);
    const merged = second.flat.mul(second.a as number).add(second.other!.mul(second.b as number));
    expect(second.a).toBe(1);
    const lengths = optim.gradNorm(merged) * optim.gradNorm(second.other!);
    expect(Math.abs(dot(merged, second.other!)) / lengths).toBeLessThan(1e-5);
    expect(second.norm).toBeCloseTo(optim.gradNorm(merged), 3);
    expect(second.report.metrics).toMatchObject({ stale_conflict: 1, stale_cos: expect.any(Number) });
    expect(second.report.latest).toBeUndefined();
    await step(2);
    await step(3);
    // No anchors are read in between.
    expect(anchors.asked).toEqual([0, 1]);
  });

  test("without a conflict the step is the baseline's", async () => {
    const { step } = await setUp({ stale_projection: true, conflict_threshold: -2 });
    await step(0);
    const { other, norm, flat, report } = await step(1);
    expect([other, report.metrics.stale_conflict]).toEqual([null, 0]);
    expect(norm).toBeCloseTo(optim.gradNorm(flat), 4);
  });

  test('is off unless asked for', async () => {
    const { step } = await setUp({ conflict_threshold: 1.5 });
    await step(0);
    const { other, report } = await step(1);
    expect([other, 'stale_cos' in report.metrics]).toEqual([null, false]);
  });
});

test('the retention loss before the run is a mean over steps, not over batches', async () => {
  const policy = tinyAct(3, { dropout: 0, use_vae: false });
  // The second batch of two has one step that counts, far off, of three.
  const anchors = new RandomBatches(1, 7, (batch, step) =>
    step % 2 === 0
      ? batch
      : { ...batch, action: batch.action!.add(50), action_is_pad: tensor([[false, true, true]]) },
  );
  Object.assign(anchors, { framesPerEpoch: 2 });
  const loss = (i: number) => noGrad(() => policy.call(anchors.batch(i)).loss.item());
  const [full, short] = [loss(0), loss(1)];
  const config = craftConfigSchema.parse({});
  const optimization = optimizationOf(policy);
  const strategy = new CraftStrategy({ policy, optimization, anchors, config, steps: 9 });
  const [line] = await strategy.begin();
  expect(line).toContain(`before the first step: ${((3 * full + short) / 4).toFixed(4)}`);
  expect(Math.abs((3 * full + short) / 4 - (full + short) / 2)).toBeGreaterThan(1);
});

test('the log of A-GEM says whether it projected', async () => {
  for (const conflict_threshold of [-0.999, 2]) {
    const { step } = await setUp({ surgery: 'agem', conflict_threshold, retention_freq: 1 });
    const seen = new Set<boolean>();
    for (let i = 0; i < 9; i++) {
      const { b, report } = await step(i);
      const { grad_dot, grad_conflict } = report.latest!;
      expect(grad_conflict).toBe(grad_dot! < 0 ? 1 : 0);
      expect(b !== 0).toBe(grad_conflict === 1);
      seen.add(grad_conflict === 1);
    }
    expect([...seen].length).toBeGreaterThan(0);
  }
});

describe('gradient accumulation', () => {
  test.each([{}, { retention_mode: 'action' }, { retention_mode: 'hidden' }])(
    'N micro-batches of task and anchors are one batch of both: %j',
    async (fields) => {
      const plain = { dropout: 0, batchSize: 2 };
      const { step, strategy, anchors } = await setUp(
        { ...fields, initial_lambda: 0.7 },
        { ...plain, accumulation: 3 },
      );
      const many = await step(3);
      expect(anchors.asked).toEqual([3, 4, 5]);
      // The same samples one by one: the mean of the three steps' gradients.
      const ones: Awaited<ReturnType<typeof step>>[] = [];
      for (const k of [3, 4, 5]) {
        const single = await setUp({ ...fields, initial_lambda: 0.7, retention_freq: 1 }, plain);
        // Batch k of the anchors and, as there are three per step, 9 + (k − 3) of the task.
        single.data.batch = (
          (batch) => () =>
            batch(9 + k - 3)
        )(single.data.batch.bind(single.data));
        ones.push(await single.step(k));
      }
      const mean = (of: (one: (typeof ones)[0]) => Tensor) =>
        ones
          .map(of)
          .reduce((sum, each) => sum.add(each))
          .div(3);
      const close = (x: Tensor, y: Tensor) => x.sub(y).abs().max().item() / (y.abs().max().item() + 1e-12);
      expect(
        close(
          many.flat,
          mean(({ flat }) => flat),
        ),
      ).toBeLessThan(1e-5);
      // Where teacher and student are one, distances and, but for the kink of |x|, their gradients are 0.
      if (!('retention_mode' in fields))
        expect(
          close(
            many.other!,
            mean(({ other }) => other!),
          ),
        ).toBeLessThan(1e-5);
      const losses = ones.map(({ report }) => report.latest!.retention_loss!);
      expect(many.report.latest!.retention_loss).toBeCloseTo(losses.reduce((a, b) => a + b) / 3, 5);
      expect(strategy.history).toHaveLength(1);
    },
  );
});

test('numbers of a run', async () => {
  const { strategy, step } = await setUp({ retention_freq: 1 });
  expect(await strategy.report()).toBeNull();
  expect(await strategy.summary()).toEqual([]);
  for (let i = 0; i < 4; i++) await step(i);
  const report = (await strategy.report())!;
  expect(report.steps.retention).toBe(4);
  expect(report.retention.before).toBeCloseTo(report.retention.now!, 6);
  expect(report.lambda.max).toBeGreaterThanOrEqual(report.lambda.min);
  expect(await strategy.summary()).toEqual([
    expect.stringMatching(/^task loss: [\d.]+ in the first steps, [\d.]+ in the last$/),
    expect.stringMatching(/^retention loss on the anchors: [\d.]+ before, [\d.]+ now$/),
    expect.stringMatching(/^λ [\d.]+ to [\d.]+, now [\d.]+; ε [\d.]+ to [\d.]+$/),
    expect.stringMatching(/^\d of 4 retention steps in conflict; mean cosine -?[\d.]+$/),
  ]);
});
