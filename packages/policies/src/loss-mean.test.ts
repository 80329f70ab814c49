import { manualSeed, noGrad, rand, type Tensor, tensor } from '@craft-ft/torch';
import { expect, test } from 'vitest';
import { smallAct } from '../test/act-small.js';
import { smallBatch, smallConfig } from '../test/pi0-fast-small.js';
import { ActPolicy } from './act/policy.js';
import { LossMean } from './loss-mean.js';
import { Pi0FastPolicy } from './pi0_fast/policy.js';
import type { Policy } from './policy.js';

type TensorBatch = Record<string, Tensor>;

/** The mean over parts of a batch, given by where they end. */
function meanOver(policy: Policy, batch: TensorBatch, ends: number[]): LossMean {
  const mean = new LossMean();
  let start = 0;
  for (const end of ends) {
    const part = Object.fromEntries(
      Object.entries(batch).map(([name, values]) => [name, values.narrow(0, start, end - start)]),
    );
    noGrad(() => mean.add(policy.call(part), end - start));
    start = end;
  }
  return mean;
}

const actBatch = () => ({
  'observation.state': rand([5, 3]),
  action: rand([5, 4, 2]).mul(tensor([1, 2, 3, 4, 50]).view([5, 1, 1])),
  // The last samples lie at the end of their episodes.
  action_is_pad: tensor([0, 0, 1, 2, 3].map((padded) => [0, 1, 2, 3].map((step) => step >= 4 - padded))),
});

test('ACT in evaluation mode: any split gives the loss of the whole', () => {
  manualSeed(1);
  const policy = new ActPolicy(smallAct());
  policy.eval();
  const batch = actBatch();
  const whole = noGrad(() => policy.call(batch).loss.item());
  for (const ends of [[5], [4, 5], [1, 2, 3, 4, 5]]) {
    const mean = meanOver(policy, batch, ends);
    expect(mean.loss).toBeCloseTo(whole, 5);
    expect(mean.metrics.l1_loss).toBeCloseTo(whole, 5);
    expect(mean.count).toBe(14);
  }
});

test('ACT with the VAE: L1 by steps, divergence by samples', () => {
  const policy = new ActPolicy(smallAct({ kl_weight: 10 }));
  const batch = actBatch();
  const outputs = [0, 4].map((start) =>
    policy.call(
      Object.fromEntries(
        Object.entries(batch).map(([name, values]) => [name, values.narrow(0, start, start === 0 ? 4 : 1)]),
      ),
    ),
  );
  const mean = new LossMean();
  outputs.forEach((output, i) => {
    mean.add(output, i === 0 ? 4 : 1);
  });
  const of = (name: string) => outputs.map(({ metrics }) => Number((metrics[name] as Tensor).item()));
  const [l1, kld] = [of('l1_loss'), of('kld_loss')];
  expect(mean.metrics.l1_loss).toBeCloseTo((l1[0]! * 13 + l1[1]! * 1) / 14, 5);
  expect(mean.metrics.kld_loss).toBeCloseTo((kld[0]! * 4 + kld[1]!) / 5, 5);
  expect(mean.loss).toBeCloseTo(mean.metrics.l1_loss! + 10 * mean.metrics.kld_loss!, 9);
});

test('pi0_fast: by tokens', () => {
  manualSeed(1);
  const policy = new Pi0FastPolicy(smallConfig());
  policy.eval();
  const batch: TensorBatch = smallBatch();
  const width = batch['action.token_mask']!.size(1);
  batch['action.token_mask'] = tensor(
    [3, width].map((count) => Array.from({ length: width }, (_, i) => i < count)),
  );
  const whole = noGrad(() => policy.call(batch));
  const mean = meanOver(policy, batch, [1, 2]);
  expect(mean.count).toBe(2 + width - 1);
  expect(mean.loss).toBeCloseTo(whole.loss.item(), 5);
  expect(mean.metrics.token_accuracy).toBeCloseTo(Number((whole.metrics.token_accuracy as Tensor).item()), 6);
});

test('without counts batches weigh as their samples; one without valid elements not at all', () => {
  const mean = new LossMean();
  expect(mean.loss).toBe(0);
  mean.add({ loss: tensor(1), metrics: { a: 4 } }, 3);
  mean.add({ loss: tensor(2), metrics: {} }, 1);
  mean.add({ loss: tensor(Number.NaN), metrics: { a: Number.NaN }, count: 0 }, 9);
  expect(mean.loss).toBe(1.25);
  expect(mean.metrics).toEqual({ a: 4 });
});
