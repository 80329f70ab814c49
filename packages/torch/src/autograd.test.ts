import { describe, expect, it } from 'vitest';
import { craftError } from '../test/craft-error.js';
import * as torch from './index.js';

const leaf = (...values: number[]) => torch.tensor(values, { requiresGrad: true });

describe('backward', () => {
  it('accumulates into leaves only', () => {
    const x = leaf(1, 2);
    const y = x.mul(x);
    y.sum().backward();
    expect(x.grad?.tolist()).toEqual([2, 4]);
    x.mul(3).sum().backward();
    expect(x.grad?.tolist()).toEqual([5, 7]);
    expect(y.grad).toBeNull();
    x.grad = null;
    expect(x.grad).toBeNull();
  });

  it('takes a gradient for outputs of several elements', () => {
    const x = leaf(1, 2);
    x.mul(2).backward(torch.tensor([1, 10]));
    expect(x.grad?.tolist()).toEqual([2, 20]);
    expect(() => leaf(1, 2).mul(2).backward()).toThrow(torch.TorchError);
  });

  it('frees the graph unless retainGraph', () => {
    const x = leaf(1, 2);
    const kept = x.mul(x).sum();
    kept.backward(undefined, { retainGraph: true });
    kept.backward();
    expect(x.grad?.tolist()).toEqual([4, 8]);
    expect(() => kept.backward()).toThrow(torch.TorchError);
  });

  it('goes from several outputs at once', () => {
    const x = leaf(3);
    torch.backward([x.mul(2), x.mul(x)], [torch.tensor([1]), torch.tensor([10])]);
    expect(x.grad?.tolist()).toEqual([62]);
  });
});

describe('grad', () => {
  it('returns gradients and leaves .grad alone', () => {
    const [x, unused] = [leaf(3), leaf(1)];
    const y = x.pow(3).sum();
    expect(() => torch.grad([y], [x, unused], { retainGraph: true })).toThrow(torch.TorchError);
    const [dx, none] = torch.grad([y], [x, unused], { allowUnused: true });
    expect(dx?.tolist()).toEqual([27]);
    expect(none).toBeNull();
    expect(x.grad).toBeNull();
  });

  it('gives second derivatives with createGraph', () => {
    const x = leaf(2);
    const [first] = torch.grad([x.pow(3).sum()], [x], { createGraph: true });
    expect(first?.requiresGrad).toBe(true);
    const [second] = torch.grad([first!.sum()], [x], { createGraph: true });
    expect(second?.tolist()).toEqual([12]);
    expect(torch.grad([second!.sum()], [x])[0]?.tolist()).toEqual([6]);
  });

  it('weighs with the given gradients', () => {
    const x = leaf(1, 2);
    expect(torch.grad([x.mul(x)], [x], { gradients: [torch.tensor([1, 100])] })[0]?.tolist()).toEqual([
      2, 400,
    ]);
  });
});

describe('gradient mode', () => {
  it('noGrad records nothing, enableGrad inside records again', () => {
    const x = leaf(1);
    torch.noGrad(() => {
      expect(torch.isGradEnabled()).toBe(false);
      expect(x.mul(2).requiresGrad).toBe(false);
      expect(torch.enableGrad(() => x.mul(2)).requiresGrad).toBe(true);
      expect(torch.isGradEnabled()).toBe(false);
    });
    expect(torch.isGradEnabled()).toBe(true);
  });

  it('comes back after an exception and refuses promises', () => {
    expect(() =>
      torch.noGrad(() => {
        throw new Error('inside');
      }),
    ).toThrow('inside');
    expect(torch.isGradEnabled()).toBe(true);
    expect(() => torch.noGrad(async () => 1)).toThrow('synchronous');
    expect(torch.isGradEnabled()).toBe(true);
    expect(() => torch.noGrad(() => torch.enableGrad(() => torch.zeros([2]).item()))).toThrow(
      torch.TorchError,
    );
    expect(torch.isGradEnabled()).toBe(true);
  });

  it('detach shares memory and cuts the graph', () => {
    const x = leaf(1, 2);
    const y = x.detach();
    expect([y.requiresGrad, y.isLeaf]).toEqual([false, true]);
    torch.noGrad(() => y.fill_(5));
    expect(x.tolist()).toEqual([5, 5]);
    x.mul(x.detach()).sum().backward();
    expect(x.grad?.tolist()).toEqual([5, 5]);
  });

  it('refuses in-place writes to a leaf that is recorded', () => {
    expect(craftError(() => leaf(1).add_(1)).code).toBe('TORCH_ERROR');
    expect(craftError(() => torch.tensor([1], { dtype: 'int64' }).requiresGrad_()).code).toBe('TORCH_ERROR');
  });
});
