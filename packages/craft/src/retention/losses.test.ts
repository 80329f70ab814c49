import type { Tensor } from '@craft-ft/torch';
import * as torch from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import { computeHiddenRetentionLoss, computeRetentionLoss } from './losses.js';

class Policy {
  training = true;
  readonly weight = torch.tensor([2], { requiresGrad: true });
  modes: boolean[] = [];

  constructor(readonly perSample: boolean) {}

  forward(batch: Record<string, Tensor>) {
    this.modes.push(this.training);
    const losses = batch.x.mul(this.weight).square().mean([1]);
    return { loss: this.perSample ? losses : losses.mean(), metrics: { calls: this.modes.length } };
  }
}

const anchors = () => ({ x: torch.tensor([[1], [3]]) });
const code = (name: string) => expect.objectContaining({ code: name });

describe('computeRetentionLoss', () => {
  test("is the policy's own loss, with its gradient and metrics, in the mode the policy is in", () => {
    for (const training of [true, false]) {
      const policy = new Policy(false);
      policy.training = training;
      const { loss, metrics } = computeRetentionLoss(policy, anchors());
      loss.backward();
      expect(loss.item()).toBe(20);
      expect(policy.weight.grad?.tolist()).toEqual([20]);
      expect(metrics).toEqual({ calls: 1 });
      expect([policy.modes, policy.training]).toEqual([[training], training]);
    }
  });

  test('reductions', () => {
    const reduced = (perSample: boolean, reduction: 'mean' | 'sum' | 'none') =>
      computeRetentionLoss(new Policy(perSample), anchors(), reduction).loss.tolist();
    expect([reduced(true, 'mean'), reduced(true, 'sum'), reduced(true, 'none')]).toEqual([20, 40, [4, 36]]);
    expect([reduced(false, 'mean'), reduced(false, 'sum')]).toEqual([20, 40]);
    expect(() => reduced(false, 'none')).toThrow(code('REDUCTION_UNSUPPORTED'));
    expect(() => reduced(true, 'max' as 'mean')).toThrow(code('REDUCTION_UNKNOWN'));
  });

  test('a loss with further dimensions, and a batch without samples, are refused', () => {
    const returns = (loss: Tensor) => ({ forward: () => ({ loss, metrics: {} }) });
    expect(() => computeRetentionLoss(returns(torch.zeros([2, 2])), anchors())).toThrow(
      code('RETENTION_LOSS_SHAPE'),
    );
    expect(() => computeRetentionLoss(returns(torch.tensor(1)), {}, 'sum')).toThrow(
      code('ANCHOR_BATCH_EMPTY'),
    );
  });
});

describe('computeHiddenRetentionLoss', () => {
  test('half-precision features are compared in float32; the teacher gets no gradient', () => {
    const student = torch.tensor([[1, 2]], { dtype: 'bfloat16', requiresGrad: true });
    const teacher = torch.tensor([[0, 0]], { dtype: 'float16', requiresGrad: true });
    const loss = computeHiddenRetentionLoss(student, teacher);
    loss.backward();
    expect([loss.dtype, loss.item()]).toEqual(['float32', 2.5]);
    expect(student.grad?.tolist()).toEqual([[1, 2]]);
    expect(teacher.grad).toBeNull();
  });

  test('leaves nothing behind but the loss', () => {
    const features = torch.ones([2, 3]);
    const before = torch.memory().tensors;
    for (const type of ['mse', 'cosine', 'l1'] as const)
      computeHiddenRetentionLoss(features, features, type).dispose();
    expect(torch.memory().tensors).toBe(before);
  });

  test('what cannot be compared is refused', () => {
    const features = torch.ones([2, 3]);
    const loss =
      (...args: unknown[]) =>
      () =>
        (computeHiddenRetentionLoss as (...args: unknown[]) => Tensor)(...args);
    expect(loss(features, torch.ones([3, 2]))).toThrow(code('HIDDEN_SHAPE'));
    expect(loss(torch.tensor(1), torch.tensor(1))).toThrow(code('HIDDEN_SHAPE'));
    expect(loss(features, features, 'huber')).toThrow(code('HIDDEN_LOSS_UNKNOWN'));
    expect(loss(features, features, 'mse', 'max')).toThrow(code('REDUCTION_UNKNOWN'));
  });
});
