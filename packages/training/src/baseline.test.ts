import { CraftError, nn, scope, setNumThreads, tensor } from '@craft-ft/torch';
import { expect, test } from 'vitest';
import type { Policy } from '../../policies/src/policy.js';
import { goldenActPath } from '../../policies/test/act-golden.js';
import { expectScalar, loadTrace } from '../test/training-trace.js';
import { BaselineStrategy } from './baseline.js';
import { Optimization } from './optimization.js';

setNumThreads(1);

test.skipIf(goldenActPath('trace') === null)('20 steps of ACT equal PyTorch', () => {
  const { trace, stream, start, expectFinalWeights } = loadTrace();
  const { policy, optimization } = start('baseline');
  const strategy = new BaselineStrategy(policy, optimization);
  const data = stream('task');
  for (const expected of trace.runs.baseline!) {
    const { loss, gradNorm, metrics } = scope(() =>
      strategy.update(expected.step, [() => data.batch(expected.step)]),
    );
    const at = `step ${expected.step}: `;
    expectScalar(loss, expected.task_loss, `${at}loss`);
    expectScalar(metrics.l1_loss, expected.task_l1_loss, `${at}l1_loss`);
    expectScalar(metrics.kld_loss, expected.task_kld_loss, `${at}kld_loss`);
    expectScalar(gradNorm, expected.grad_norm_before_clip, `${at}gradient norm`);
  }
  expectFinalWeights('baseline', policy);
});

/** A model of one weight: loss(weight) is whatever the test says. */
function oneWeight(loss: (weight: nn.Parameter) => ReturnType<nn.Parameter['sum']>) {
  class OneWeight extends nn.Module {
    readonly weight = new nn.Parameter(tensor([2]));
    override forward() {
      return { loss: loss(this.weight), metrics: {} };
    }
    parameterGroups() {
      return [{ parameters: this.namedParameters() }];
    }
  }
  const policy = new OneWeight() as unknown as Policy;
  const optimization = new Optimization(
    policy,
    { type: 'adamw', lr: 0.1, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.1, grad_clip_norm: 10 },
    null,
    10,
  );
  return { strategy: new BaselineStrategy(policy, optimization), optimization };
}

test.each([
  ['a loss that is NaN', (weight: nn.Parameter) => weight.mul(Number.NaN).sum(), /^step 8: loss is NaN/],
  ['an infinite loss', (weight: nn.Parameter) => weight.div(0).sum(), /^step 8: loss is Infinity/],
  [
    'a finite loss whose gradient is not',
    (weight: nn.Parameter) => weight.sub(2).sqrt().sum(),
    /^step 8: norm of the gradient is Infinity/,
  ],
])('%s stops the run at its step, before anything changes', (_, loss, message) => {
  const { strategy, optimization } = oneWeight(loss);
  const before = optimization.parameters.data.tolist();
  let error: unknown;
  try {
    scope(() => strategy.update(7, [() => ({})]));
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(CraftError);
  expect((error as CraftError).code).toBe('LOSS_NOT_FINITE');
  expect((error as CraftError).message).toMatch(message);
  expect(optimization.parameters.data.tolist()).toEqual(before);
  expect(optimization.adamw.steps).toEqual([0]);
});
