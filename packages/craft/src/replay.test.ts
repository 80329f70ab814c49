import { optim, scope, type Tensor } from '@craft-ft/torch';
import { expect, test } from 'vitest';
import { optimizationOf, RandomBatches, tinyAct } from '../test/tiny-act.js';
import { ReplayStrategy } from './replay.js';
import { replayMethod } from './replay-method.js';

function setUp(weight: number, accumulation = 1) {
  const policy = tinyAct(3, { dropout: 0, use_vae: false });
  policy.train();
  const optimization = optimizationOf(policy);
  const anchors = new RandomBatches(4, 7);
  const strategy = new ReplayStrategy({ policy, optimization, anchors, weight, steps: 9, accumulation });
  return { policy, optimization, anchors, strategy, data: new RandomBatches(4, 5) };
}

/** The gradient that the optimiser is given for step `i`. */
async function stepped(
  { strategy, optimization, data }: ReturnType<typeof setUp>,
  i: number,
  accumulation = 1,
) {
  let gradient: Tensor | null = null;
  optimization.apply = (_step, given) => {
    gradient = (given as optim.FlatGradient).flat.clone().keep();
    return { gradNorm: optim.gradNorm(gradient), lr: 0 };
  };
  await strategy.ready(i);
  const batches = Array.from({ length: accumulation }, (_, k) => () => data.batch(i * accumulation + k));
  const report = scope(() => strategy.update(i, batches));
  return { report, gradient: gradient as unknown as Tensor };
}

test('the gradient of the task loss plus weight times that of the loss on the anchors', async () => {
  const [task, both, half] = await Promise.all([0, 1, 0.5].map((weight) => stepped(setUp(weight), 2)));
  const anchors = both!.gradient.sub(task!.gradient);
  const scale = anchors.abs().max().item();
  expect(scale).toBeGreaterThan(1e-3);
  const expected = task!.gradient.add(anchors.mul(0.5));
  expect(half!.gradient.sub(expected).abs().max().item() / scale).toBeLessThan(1e-4);
  expect(half!.report.loss).toBe(task!.report.loss);
  expect(half!.report.metrics).toMatchObject({
    l1_loss: expect.any(Number),
    replay_loss: both!.report.metrics.replay_loss,
  });
});

test('micro-batches of task and anchors go together', async () => {
  const setting = setUp(1, 2);
  const { report, gradient } = await stepped(setting, 1, 2);
  expect(setting.anchors.asked).toEqual([2, 3]);
  const one = await Promise.all([2, 3].map(async (i) => (await stepped(setUp(1), i)).gradient));
  const mean = one[0]!.add(one[1]!).div(2);
  expect(gradient.sub(mean).abs().max().item() / mean.abs().max().item()).toBeLessThan(1e-4);
  expect(report.loss).toBeGreaterThan(0);
});

test('a loss on the anchors that is not finite stops the step before anything changes', async () => {
  const setting = setUp(1);
  const batch = setting.anchors.batch.bind(setting.anchors);
  setting.anchors.batch = (step: number) => {
    const values = batch(step);
    return { ...values, action: values.action!.mul(Number.NaN) };
  };
  const before = setting.optimization.parameters.data.tolist();
  await setting.strategy.ready(0);
  expect(() => scope(() => setting.strategy.update(0, [() => setting.data.batch(0)]))).toThrow(
    /^step 1: loss on the anchors is NaN/,
  );
  expect(setting.optimization.parameters.data.tolist()).toEqual(before);
});

test('a checkpoint is recognised as one of replay', () => {
  expect([...setUp(1).strategy.stateFiles().keys()]).toEqual([replayMethod.stateFile]);
});
