import { afterEach, describe, expect, it } from 'vitest';
import { craftError } from '../test/craft-error.js';
import { expectClose } from '../test/numeric.js';
import type { Tensor } from './index.js';
import * as torch from './index.js';

const { nn } = torch;

afterEach(() => torch.discardCheckpoints());

/** A residual layer with dropout whose forward calls are counted. */
class Layer extends nn.Module {
  readonly linear = new nn.Linear(4, 4);
  readonly dropout = new nn.Dropout(0.3);
  calls = 0;

  override forward(x: Tensor): Tensor {
    this.calls++;
    return x.add(this.dropout.call(this.linear.call(x).tanh()));
  }
}

type Run = <R extends Tensor | Tensor[]>(body: (...x: Tensor[]) => R, ...inputs: Tensor[]) => R;
const plain: Run = (body, ...inputs) => body(...inputs);

/** Loss, gradients and the random numbers that follow are the same with checkpoints and without. */
function expectSame(leaves: Tensor[], forward: (run: Run) => Tensor): void {
  const results = [plain, torch.checkpoint as Run].map((run) => {
    for (const leaf of leaves) leaf.grad = null;
    torch.manualSeed(5);
    const loss = forward(run);
    const next = torch.rand([1]);
    loss.backward();
    return { loss, next, gradients: leaves.map((leaf) => leaf.grad) };
  });
  const [without, withCheckpoints] = results;
  expectClose(withCheckpoints.loss, without.loss, 0);
  expectClose(withCheckpoints.next, without.next, 0);
  without.gradients.forEach((gradient, i) => {
    if (gradient === null) expect(withCheckpoints.gradients[i]).toBeNull();
    else expectClose(withCheckpoints.gradients[i]!, gradient, 1e-6);
  });
}

const input = (requiresGrad = true) => torch.randn([3, 4], { requiresGrad });
const layers = (count: number) => Array.from({ length: count }, () => new Layer());
const leavesOf = (list: Layer[]) => list.flatMap((layer) => layer.parameters());

describe('the same gradients as without', () => {
  it('a chain of residual layers with dropout, also from an input that is no leaf', () => {
    const [list, x] = [layers(4), input()];
    expectSame([x, ...leavesOf(list)], (run) => {
      let h = x.mul(1.5);
      for (const layer of list) h = run((y) => layer.call(y), h);
      return h.square().sum();
    });
  });

  it('one segment inside another', () => {
    const [list, x] = [layers(3), input()];
    expectSame([x, ...leavesOf(list)], (run) => {
      const inner = (y: Tensor) => run((z) => list[1].call(z), y.add(1)).add(y);
      const h = run((y) => list[2].call(inner(list[0].call(y))), x.mul(2));
      return h.square().sum();
    });
  });

  it('a shared tensor that feeds several segments and the loss, walked by two kinds of graph', () => {
    const [list, x] = [layers(4), input()];
    expectSame([x, ...leavesOf(list)], (run) => {
      const shared = run((y) => list[0].call(y), x)
        .sigmoid()
        .mul(3);
      let h = shared;
      for (const layer of list.slice(1)) h = run((y, memory) => layer.call(y).mul(memory), h.add(1), shared);
      return h.square().sum().add(shared.pow(3).sum());
    });
  });

  it('several outputs, of which one is unused, and parameters as inputs', () => {
    const [w, x] = [new nn.Parameter(torch.randn([4, 4])), input()];
    expectSame([w, x], (run) => {
      const [a, b, unused] = run((y, m) => [y.matmul(m), y.mul(2), y.exp()], x, w);
      void unused;
      return a.mul(b).sum();
    });
  });

  it('a segment used twice, one that nothing reaches, an integer output', () => {
    const [list, x] = [layers(2), input()];
    expectSame([x, ...leavesOf(list)], (run) => {
      void run((y) => list[1].call(y), x);
      const h = run(
        (y) => list[0].call(y),
        run((y) => list[0].call(y), x),
      );
      const [best, values] = run((y) => [y.argmax(1, true), y.exp()], h);
      return values.gather(1, best).sum();
    });
  });

  it('inside scopes that end before the backward pass', () => {
    const [list, x] = [layers(3), input()];
    expectSame([x, ...leavesOf(list)], (run) =>
      torch.scope(() => {
        const h = torch.scope(() => run((y) => list[0].call(y), x.mul(2)));
        return torch.scope(() => run((y) => list[1].call(y), h.tanh())).sum();
      }),
    );
  });

  it('into a gradient buffer', () => {
    const layer = new Layer();
    const flat = new torch.optim.FlatParameters([{ parameters: layer.namedParameters() }]);
    const x = input();
    const [a, b] = [plain, torch.checkpoint as Run].map((run) => {
      const buffer = flat.gradBuffer();
      torch.manualSeed(3);
      buffer.collect(() =>
        run((y) => layer.call(y), x)
          .square()
          .sum()
          .backward(),
      );
      expect(buffer.reached).toEqual([true, true]);
      return buffer.flat;
    });
    expectClose(b, a, 1e-6);
  });
});

describe('frozen modules', () => {
  const frozen = () => {
    const layer = new Layer();
    layer.requiresGrad_(false);
    return layer;
  };

  it('on frozen inputs are computed once and cut nothing', () => {
    const [tower, head] = [frozen(), new Layer()];
    const before = torch.memory();
    const features = torch.checkpoint((y) => tower.call(y), input(false));
    expect(features.requiresGrad).toBe(false);
    head.call(features).sum().backward();
    expect(tower.calls).toBe(1);
    expect(head.linear.weight.grad).not.toBeNull();
    features.dispose();
    head.linear.weight.grad = null;
    head.linear.bias!.grad = null;
    expect(torch.memory().bytes - before.bytes).toBeLessThan(2000);
  });

  it('give the same gradients with an adapter inside, before, or between them', () => {
    const [list, last] = [[frozen(), new Layer(), frozen()], frozen()];
    const adapter = new nn.Parameter(torch.randn([4, 4]));
    for (const order of [
      [0, 1, 2],
      [1, 0, 2],
      [0, 2, 1],
    ]) {
      const leaves = [...list[1].parameters(), adapter];
      expectSame(leaves, (run) => {
        let h = input(false);
        for (const i of order) h = run((y) => list[i].call(y), h);
        return run((y) => torch.cat([last.call(y), y.matmul(adapter)]), h)
          .square()
          .sum();
      });
    }
    const inside = torch.checkpoint((y) => last.call(y).matmul(adapter), input(false));
    expect(inside.requiresGrad).toBe(true);
  });

  it('count what lists hold and what is passed through, but not what is detached', () => {
    const x = input();
    const requires = (body: (y: Tensor) => Tensor, from = input(false)) =>
      torch.checkpoint(body, from).requiresGrad;
    expect(requires((y) => torch.cat([y, x]))).toBe(true);
    expect(requires((y) => torch.noGrad(() => torch.checkpoint((z) => z.mul(x), y)))).toBe(true);
    expect(requires((y) => y, x)).toBe(true);
    expect(requires((y) => y.mul(x.detach()))).toBe(false);
    expect(requires((y) => y.argmax(1), x)).toBe(false);
    expect(() => requires(() => x.matmul(x))).toThrow(torch.TorchError);
    expect(requires((y) => y.exp())).toBe(false);
  });
});

describe('passes', () => {
  it('two forward passes, then their two backward passes', () => {
    const [list, x] = [layers(1), input()];
    const forward = () => torch.checkpoint((y) => list[0].call(y), x).sum();
    const [first, second] = [forward(), forward().mul(10)];
    first.backward();
    const once = list[0].linear.bias!.grad!.clone();
    list[0].linear.bias!.grad = null;
    second.backward();
    expect(once.abs().sum().item()).toBeGreaterThan(0);
    expect(list[0].linear.bias!.grad!.abs().sum().item()).toBeGreaterThan(0);
  });

  it('a second pass over the same graph needs retainGraph, and says so', () => {
    const x = input();
    const loss = torch.checkpoint((y) => y.square(), x).sum();
    loss.backward(undefined, { retainGraph: true });
    loss.backward();
    expectClose(x.grad!, x.detach().mul(4));
    expect(() => loss.backward()).toThrow('checkpoint');
  });

  it('recomputes once, and only what a gradient reached', () => {
    const list = layers(2);
    const x = input();
    const [a] = list.map((layer) => torch.checkpoint((y) => layer.call(y), x));
    a.sum().backward();
    expect(list.map((layer) => layer.calls)).toEqual([2, 1]);
  });

  it('joins the gradients of several segments at the ordinary part that feeds them', () => {
    const x = input();
    const shared = x.exp();
    const outputs = [1, 2, 3].map((factor) => torch.checkpoint((y) => y.mul(factor), shared));
    outputs
      .reduce((sum, output) => sum.add(output))
      .sum()
      .backward();
    expectClose(x.grad!, x.detach().exp().mul(6));
  });

  it('is a plain call under noGrad', () => {
    const layer = new Layer();
    const y = torch.noGrad(() => torch.checkpoint((z) => layer.call(z), input()));
    expect([y.requiresGrad, layer.calls]).toEqual([false, 1]);
  });

  it('refuses createGraph, grad() and gradients after discardCheckpoints', () => {
    const x = input();
    const forward = () => torch.checkpoint((y) => y.square(), x).sum();
    const loss = forward();
    expect(craftError(() => loss.backward(undefined, { createGraph: true })).code).toBe(
      'CHECKPOINT_UNSUPPORTED',
    );
    expect(craftError(() => torch.grad([loss], [x])).code).toBe('CHECKPOINT_UNSUPPORTED');
    torch.discardCheckpoints();
    expect(() => loss.backward()).toThrow('discarded');
  });

  it('keeps the random state and the rest of the graph when the body fails in the backward pass', () => {
    const x = input();
    let fail = false;
    const loss = torch
      .checkpoint((y) => {
        if (fail) throw new Error('in replay');
        return torch.dropout(y, 0.5, true);
      }, x)
      .sum();
    fail = true;
    torch.manualSeed(1);
    expect(() => loss.backward()).toThrow('in replay');
    const next = torch.rand([2]);
    torch.manualSeed(1);
    expectClose(next, torch.rand([2]), 0);
    const y = x.mul(2).sum();
    y.backward();
    expectClose(x.grad!, torch.full([3, 4], 2));
  });
});

describe('memory', () => {
  it('is free after the backward pass, and after a forward pass without one', () => {
    const [list, x] = [layers(3), input()];
    const forward = () => {
      let h = x.mul(2);
      for (const layer of list) h = torch.checkpoint((y) => layer.call(y), h);
      return h.sum();
    };
    const step = () => torch.scope(() => forward().backward());
    step();
    const before = torch.memory();
    for (let i = 0; i < 5; i++) step();
    expect(torch.memory()).toEqual(before);
    torch.scope(() => void forward());
    torch.scope(() => void forward());
    step();
    expect(torch.memory()).toEqual(before);
  });
});
