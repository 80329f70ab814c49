import { setTimeout } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { craftError } from '../test/craft-error.js';
import type { Tensor } from './index.js';
import * as torch from './index.js';

const live = () => torch.memory().tensors;

describe('scope', () => {
  it('frees what it does not return', () => {
    const before = torch.memory();
    const x = torch.scope(() => torch.ones([10]).add(1).mul(2));
    expect(torch.memory().tensors).toBe(before.tensors + 1);
    expect(torch.memory().bytes).toBe(before.bytes + 40);
    expect(x.sum().item()).toBe(40);
  });

  it('keeps tensors in arrays, plain objects and Maps, however deep', () => {
    const before = live();
    const { list, map, deep } = torch.scope(() => ({
      list: [torch.ones([1]), [torch.ones([2])]] as const,
      map: new Map([['a', torch.ones([3])]]),
      deep: {
        er: { still: torch.ones([4]), not: 5, nothing: null },
        bare: Object.assign(Object.create(null), { t: torch.ones([5]) }),
      },
    }));
    expect(live()).toBe(before + 5);
    const kept = [list[0], list[1][0], map.get('a')!, deep.er.still, deep.bare.t as Tensor];
    expect(kept.map((tensor) => tensor.numel)).toEqual([1, 2, 3, 4, 5]);
  });

  it('is let go of by a dead tensor that somebody holds, with all the others', () => {
    const held: Tensor[] = [];
    torch.scope(() => {
      held.push(torch.ones([1]), torch.ones([1]).add(1));
      held[1].dispose();
    });
    expect(held.map((tensor) => [tensor.disposed, tensor.scope])).toEqual([
      [true, null],
      [true, null],
    ]);
  });

  it('hands results from an inner scope to the outer one', () => {
    const before = live();
    let escaped: Tensor | undefined;
    const y = torch.scope(() => {
      const inner = torch.scope(() => torch.ones([2]).mul(3));
      escaped = inner;
      return inner.add(1);
    });
    expect(y.tolist()).toEqual([4, 4]);
    expect(escaped!.disposed).toBe(true);
    expect(live()).toBe(before + 1);
  });

  it('leaves tensors of outer scopes and kept ones alone', () => {
    const outside = torch.ones([1]);
    const kept = torch.scope(() => {
      const view = torch.ones([2]).keep();
      return [() => view.sum().item(), outside];
    });
    expect((kept[0] as () => number)()).toBe(2);
    expect(outside.item()).toBe(1);
  });

  it('frees everything when the body throws, also when libtorch does', () => {
    const before = live();
    expect(() => torch.scope(() => torch.ones([2]).matmul(torch.ones([3])))).toThrow(torch.TorchError);
    expect(() =>
      torch.scope(() => {
        torch.ones([2]);
        throw new Error('mine');
      }),
    ).toThrow('mine');
    expect(live()).toBe(before);
    expect(torch.scope(() => torch.ones([1]).item())).toBe(1);
  });

  it('refuses promises', () => {
    const before = live();
    expect(() => torch.scope(async () => torch.ones([1]))).toThrow('synchronous');
    expect(live()).toBe(before);
  });

  it('a module call is a scope', () => {
    const layer = new torch.nn.Linear(3, 3);
    const x = torch.ones([2, 3]);
    const before = live();
    const y = layer.call(x);
    expect(live()).toBe(before + 1);
    y.dispose();
  });

  it('stays flat over a thousand steps of training', () => {
    const model = new torch.nn.Sequential(
      new torch.nn.Linear(4, 8),
      new torch.nn.GELU(),
      new torch.nn.Linear(8, 1),
    );
    const flat = new torch.optim.FlatParameters([{ parameters: model.namedParameters() }]);
    const adamw = new torch.optim.AdamW(flat, { lr: 1e-2 });
    const gradient = flat.gradBuffer();
    const x = torch.randn([16, 4]);
    const step = () =>
      torch.scope(() => {
        gradient.zero();
        const loss = model
          .call(x)
          .sub(x.sum([1], true))
          .square()
          .mean();
        gradient.collect(() => loss.backward());
        torch.optim.clipGradNorm_(gradient.flat, 1);
        adamw.step(gradient);
        return loss.item();
      });
    const first = step();
    const before = torch.memory();
    let last = first;
    for (let i = 0; i < 1000; i++) last = step();
    expect(torch.memory()).toEqual(before);
    expect(last).toBeLessThan(first / 10);
  });
});

describe('dispose', () => {
  it('frees at once; twice is harmless; use afterwards is refused', () => {
    const before = live();
    const x = torch.ones([2]);
    x.dispose();
    x.dispose();
    expect([live(), x.disposed]).toEqual([before, true]);
    for (const use of [
      () => x.add(1),
      () => torch.ones([2]).add(x),
      () => x.shape,
      () => x.item(),
      () => torch.cat([x]),
      () => x.backward(),
    ]) {
      expect(craftError(use)).toBeInstanceOf(torch.TensorDisposedError);
    }
    expect(craftError(() => x.add(1)).code).toBe('TENSOR_DISPOSED');
  });

  it('works through using, and inside a scope', () => {
    const before = live();
    {
      using x = torch.ones([1]);
      expect(x.item()).toBe(1);
    }
    torch.scope(() => torch.ones([1]).dispose());
    expect(live()).toBe(before);
  });

  it('a handle that is used again does not bring an old tensor back', () => {
    const old = torch.ones([1]);
    old.dispose();
    const young = torch.zeros([1]);
    old.dispose();
    expect(young.item()).toBe(0);
    expect(() => old.item()).toThrow(torch.TensorDisposedError);
  });

  it('a view keeps the memory of what it views', () => {
    const x = torch.arange(4);
    const view = x.narrow(0, 2, 2);
    x.dispose();
    expect(view.tolist()).toEqual([2, 3]);
  });
});

describe('garbage collection', () => {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  const collect = async () => {
    for (let i = 0; i < 10; i++) {
      gc();
      await setTimeout(5);
    }
  };

  it('frees tensors outside every scope, and the arrays they borrowed', async () => {
    await collect();
    const before = torch.memory();
    for (let i = 0; i < 200; i++) torch.ones([1000]).add(1);
    (() => void torch.fromTypedArray(new Float32Array(1000)))();
    expect(live()).toBeGreaterThan(before.tensors);
    await collect();
    expect(torch.memory()).toEqual(before);
  });

  it('is brought on by the weight of unscoped tensors', async () => {
    await collect();
    const before = live();
    let most = 0;
    for (let i = 0; i < 500; i++) {
      torch.empty([1 << 20]);
      most = Math.max(most, live() - before);
      if (i % 10 === 9) await setTimeout(0);
    }
    expect(most).toBeLessThan(250);
  });

  it('counts a view by its own part', () => {
    const x = torch.zeros([1000]);
    expect([x, x.narrow(0, 0, 10), x.narrow(0, 0, 1).expand([5000])].map((t) => t.watchedBytes)).toEqual([
      4000, 40, 4000,
    ]);
    expect(torch.scope(() => torch.zeros([3]).watchedBytes)).toBe(-1);
  });
});
