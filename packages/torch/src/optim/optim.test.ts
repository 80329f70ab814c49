import { describe, expect, it } from 'vitest';
import { craftError } from '../../test/craft-error.js';
import { withKernels } from '../../test/kernel-levels.js';
import { expectClose } from '../../test/numeric.js';
import * as torch from '../index.js';

const { nn, optim } = torch;

function model() {
  torch.manualSeed(0);
  const net = new nn.Sequential(new nn.Linear(3, 5), new nn.Tanh(), new nn.Linear(5, 2));
  const flat = new optim.FlatParameters([{ parameters: net.namedParameters() }]);
  return { net, flat };
}

const x = torch.linspace(-1, 1, 12).view([4, 3]);
const lossOf = (net: torch.nn.Sequential) => net.call(x).sub(1).square().sum();

describe('FlatParameters', () => {
  it('makes the parameters views of one buffer and keeps their values', () => {
    torch.manualSeed(0);
    const reference = new nn.Linear(3, 5);
    const { net, flat } = model();
    const weight = net.parameters()[0];
    expectClose(weight, reference.weight, 0);
    expect(flat.entries.map(({ name, offset, length }) => [name, offset, length])).toEqual([
      ['0.weight', 0, 15],
      ['0.bias', 16, 5],
      ['2.weight', 32, 10],
      ['2.bias', 48, 2],
    ]);
    flat.data.zero_();
    expect(weight.abs().sum().item()).toBe(0);
    expect([weight.isLeaf, weight.requiresGrad]).toEqual([true, true]);
  });

  it('refuses no parameters, one twice, and dtypes that cannot be mixed', () => {
    const p = new nn.Parameter(torch.zeros([1]));
    const q = new nn.Parameter(torch.zeros([1], { dtype: 'float64' }));
    for (const parameters of [
      [],
      [['a', p] as const, ['b', p] as const],
      [['a', p] as const, ['b', q] as const],
    ]) {
      expect(craftError(() => new optim.FlatParameters([{ parameters }])).code).toBe('PARAMETERS_INVALID');
    }
  });
});

describe('parameters that have moved since', () => {
  const moved = (move: (net: torch.nn.Sequential) => void) => {
    const { net, flat } = model();
    const [adamw, sgd, buffer] = [new optim.AdamW(flat), new optim.SGD(flat), flat.gradBuffer()];
    buffer.collect(() => lossOf(net).backward());
    adamw.step(buffer);
    move(net);
    const before = flat.data.clone();
    for (const use of [() => buffer.collect(() => {}), () => adamw.step(buffer), () => sgd.step(buffer)]) {
      const error = craftError(use);
      expect(error.code).toBe('PARAMETERS_MOVED');
      expect(error.message).toMatch(/^parameter [02]\.(weight|bias) was freed, or moved to another device/);
    }
    expectClose(flat.data, before, 0);
    return craftError(() => flat.checkInPlace()).message;
  };

  it('are refused instead of training memory that no module reads', () => {
    expect(moved((net) => net.to({ dtype: 'float64' }))).toContain('0.weight');
    expect(moved((net) => net.parameters()[2].setData_(torch.zeros([2, 5])))).toContain('2.weight');
    expect(moved((net) => net.parameters()[1].dispose())).toContain('0.bias');
    expect(moved((net) => new optim.FlatParameters([{ parameters: net.namedParameters() }]))).toContain(
      '0.weight',
    );
  });

  it('are not those that stay where they are', () => {
    const { net, flat } = model();
    net.to({ device: 'cpu', dtype: 'float32' });
    net.loadStateDict(new Map([...net.stateDict()].map(([name, value]) => [name, value.mul(2)])));
    flat.checkInPlace();
    expect(flat.data.abs().sum().item()).toBeGreaterThan(0);
  });
});

describe('bfloat16 beside float32', () => {
  function mixed() {
    torch.manualSeed(0);
    const parameters = (['bfloat16', 'float32', 'bfloat16'] as const).map(
      (dtype, i) => [`p${i}`, new nn.Parameter(torch.randn([3 + i]).to(dtype))] as const,
    );
    return { flat: new optim.FlatParameters([{ parameters }]), values: parameters.map(([, value]) => value) };
  }

  it('has a segment per dtype, and float32 gradients and moments in one buffer', () => {
    const { flat, values } = mixed();
    expect(flat.segments.map(({ dtype, offset, length }) => [dtype, offset, length])).toEqual([
      ['bfloat16', 0, 32],
      ['float32', 32, 16],
    ]);
    expect(flat.entries.map(({ offset, segment }) => [offset, segment])).toEqual([
      [0, 0],
      [32, 1],
      [16, 0],
    ]);
    expect(craftError(() => flat.data).code).toBe('PARAMETERS_MIXED');
    expect(values.map(({ dtype }) => dtype)).toEqual(['bfloat16', 'float32', 'bfloat16']);
    flat.segments[0].data.zero_();
    expect(values.map((value) => value.eq(0).all().item())).toEqual([1, 0, 1]);
  });

  it('adds up gradients of several passes without rounding', () => {
    const { flat, values } = mixed();
    const gradient = flat.gradBuffer();
    // 256 + 1 is no bfloat16 number.
    for (const factor of [256, 1]) gradient.collect(() => values[0].mul(factor).sum().backward());
    expect([gradient.flat.dtype, gradient.view(0).tolist()]).toEqual(['float32', [257, 257, 257]]);
    expect(gradient.reached).toEqual([true, false, false]);
  });

  it.each(['auto', 'composed'] as const)('%s: is updated as float32 is, and rounded once', (level) => {
    const { flat, values } = mixed();
    const wide = values.map((value, i) => [`p${i}`, new nn.Parameter(value.detach().to('float32'))] as const);
    const twin = new optim.FlatParameters([{ parameters: wide }]);
    const [narrow, reference] = [flat, twin].map((each) => ({
      adamw: new optim.AdamW(each, { lr: 0.1 }),
      gradient: each.gradBuffer(),
    }));
    withKernels(level, () => {
      for (const { adamw, gradient } of [narrow, reference]) {
        [1, -2, 3].forEach((value, i) => void gradient.view(i).fill_(value));
        gradient.reached.fill(true);
        adamw.step(gradient);
      }
    });
    values.forEach((value, i) => {
      expectClose(value, wide[i][1].to(value.dtype), 0);
      expectClose(
        narrow.adamw.stateDict().get(`state/${i}/exp_avg`)!,
        reference.adamw.stateDict().get(`state/${i}/exp_avg`)!,
        1e-7,
      );
    });
    const copy = new Map([...narrow.adamw.stateDict()].map(([name, value]) => [name, value.clone()]));
    const restored = new optim.AdamW(flat);
    restored.loadStateDict(copy);
    expectClose(restored.expAvgSq, narrow.adamw.expAvgSq, 0);
  });

  it('learns with SGD, too', () => {
    const { flat, values } = mixed();
    const before = values.map((value) => value.detach().clone().to('float32'));
    const gradient = { flat: torch.ones([flat.size]), reached: [true, true, true] };
    new optim.SGD(flat, { lr: 0.5, momentum: 0.9 }).step(gradient);
    values.forEach((value, i) => {
      expectClose(value, before[i].sub(0.5), 2 ** -8);
    });
  });
});

describe('GradBuffer', () => {
  it('receives the gradients in place, adds up, and marks what was reached', () => {
    const { net, flat } = model();
    lossOf(net).backward();
    const expected = net.parameters().map((p) => p.grad!.clone());
    for (const p of net.parameters()) p.grad = null;

    const buffer = flat.gradBuffer();
    buffer.collect(() => lossOf(net).backward());
    expected.forEach((gradient, i) => {
      expectClose(buffer.view(i), gradient, 1e-6);
    });
    buffer.collect(() => lossOf(net).backward());
    expectClose(buffer.view(0), expected[0].mul(2), 1e-6);
    expect(buffer.reached).toEqual([true, true, true, true]);
    expect(net.parameters().every((p) => p.grad === null)).toBe(true);

    buffer.zero();
    expect([buffer.flat.abs().sum().item(), buffer.reached.includes(true)]).toEqual([0, false]);
    buffer.collect(() => net.parameters()[3].sum().backward());
    expect(buffer.reached).toEqual([false, false, false, true]);
    expect(buffer.flat.sum().item()).toBe(2);
  });

  it('two buffers take turns without mixing', () => {
    const { net, flat } = model();
    const [task, retain] = [flat.gradBuffer(), flat.gradBuffer()];
    const [first, second] = [lossOf(net), net.parameters()[0].sum()];
    retain.collect(() => second.backward());
    task.collect(() => first.backward());
    expect(retain.reached).toEqual([true, false, false, false]);
    expect(task.reached).toEqual([true, true, true, true]);
    expect(retain.flat.sum().item()).toBe(15);
    retain.dispose();
    task.collect(() => lossOf(net).backward());
    expect(task.flat.abs().sum().item()).toBeGreaterThan(0);
  });

  it('adds the uses of a parameter that is used twice', () => {
    const w = new nn.Parameter(torch.tensor([2]));
    const buffer = new optim.FlatParameters([{ parameters: [['w', w]] }]).gradBuffer();
    buffer.collect(() => w.mul(w).add(w.mul(5)).sum().backward());
    expect(buffer.view(0).tolist()).toEqual([9]);
  });

  it('ends collecting after an exception, refuses promises and nesting', () => {
    const { net, flat } = model();
    const [a, b] = [flat.gradBuffer(), flat.gradBuffer()];
    expect(() =>
      a.collect(() => {
        lossOf(net).backward();
        throw new Error('mine');
      }),
    ).toThrow('mine');
    expect(net.parameters()[0].grad).toBeNull();
    expect(() => a.collect(() => b.collect(() => 1))).toThrow('same time');
    expect(() => a.collect(async () => 1)).toThrow('synchronous');
    b.collect(() => lossOf(net).backward());
    expect(b.reached).toEqual([true, true, true, true]);
  });

  it('gets the numbers also from a pass that records itself', () => {
    const { net, flat } = model();
    const [plain, recorded] = [flat.gradBuffer(), flat.gradBuffer()];
    plain.collect(() => lossOf(net).backward());
    recorded.collect(() => lossOf(net).backward(undefined, { createGraph: true }));
    expectClose(recorded.flat, plain.flat, 1e-6);
  });
});

describe('AdamW', () => {
  const train = (steps: number, net: torch.nn.Sequential, adamw: torch.optim.AdamW) => {
    const buffer = adamw.parameters.gradBuffer();
    for (let i = 0; i < steps; i++) {
      buffer.zero();
      buffer.collect(() => lossOf(net).backward());
      adamw.step(buffer, 1 / (1 + adamw.steps[0]));
    }
  };

  it('continues bit for bit from its state dict', () => {
    const straight = model();
    train(20, straight.net, new optim.AdamW(straight.flat));
    const first = model();
    const before = new optim.AdamW(first.flat);
    train(10, first.net, before);
    const second = model();
    const after = new optim.AdamW(second.flat);
    const copy = new Map([...before.stateDict()].map(([name, value]) => [name, value.clone()]));
    expect([...copy.keys()].slice(0, 3)).toEqual(['state/0/step', 'state/0/exp_avg', 'state/0/exp_avg_sq']);
    second.net.loadStateDict(first.net.stateDict());
    after.loadStateDict(copy);
    train(10, second.net, after);
    expectClose(second.flat.data, straight.flat.data, 0);
    expect(after.steps).toEqual([20, 20, 20, 20]);
  });

  it('leaves parameters without a gradient alone: no decay, no moments, no count', () => {
    const { net, flat } = model();
    const adamw = new optim.AdamW(flat, { weightDecay: 0.5, lr: 0.1 });
    const buffer = flat.gradBuffer();
    const before = net.parameters().map((p) => p.detach().clone());
    buffer.collect(() => net.parameters()[1].sum().backward());
    adamw.step(buffer);
    expect(adamw.steps).toEqual([0, 1, 0, 0]);
    [0, 2, 3].forEach((i) => {
      expectClose(net.parameters()[i], before[i], 0);
    });
    expect(net.parameters()[1].sub(before[1]).abs().min().item()).toBeGreaterThan(0);
    expect([...adamw.stateDict().keys()]).toEqual(['state/1/step', 'state/1/exp_avg', 'state/1/exp_avg_sq']);
  });

  it('refuses a state that does not fit, naming the tensor', () => {
    const { net, flat } = model();
    const adamw = new optim.AdamW(flat);
    train(1, net, adamw);
    const state = adamw.stateDict();
    const without = new Map(state);
    without.delete('state/1/exp_avg');
    const misshaped = new Map(state).set('state/0/exp_avg_sq', torch.zeros([2]));
    const foreign = new Map(state).set('state/9/step', torch.zeros([]));
    for (const [broken, text] of [
      [without, '0.bias'],
      [misshaped, 'exp_avg_sq'],
      [foreign, 'state/9/step'],
    ] as const) {
      const error = craftError(() => adamw.loadStateDict(broken, 'optimizer_state.safetensors'));
      expect(error.code).toBe('OPTIMIZER_STATE_MISMATCH');
      expect(error.message).toContain(text);
      expect(error.message).toContain('optimizer_state.safetensors');
    }
  });
});

describe('SGD', () => {
  const options = [
    { lr: 0.1 },
    { lr: 0.1, momentum: 0.9 },
    { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.1 },
  ];
  it.each(options)(
    'equals the textbook update: %o',
    ({ lr, momentum = 0, nesterov = false, weightDecay = 0 }) => {
      const w = new nn.Parameter(torch.tensor([2, -1], { dtype: 'float64' }));
      const flat = new optim.FlatParameters([{ parameters: [['w', w]] }]);
      const sgd = new optim.SGD(flat, { lr, momentum, nesterov, weightDecay });
      const buffer = flat.gradBuffer();
      let p = [2, -1];
      let velocity = [0, 0];
      for (let step = 0; step < 4; step++) {
        buffer.zero();
        buffer.collect(() => w.pow(3).sum().backward());
        sgd.step(buffer);
        const g = p.map((value) => 3 * value ** 2 + weightDecay * value);
        velocity = velocity.map((v, i) => momentum * v + g[i]);
        p = p.map((value, i) => value - lr * (nesterov ? g[i] + momentum * velocity[i] : velocity[i]));
        expectClose(w, torch.tensor(p, { dtype: 'float64' }), 1e-12);
      }
    },
  );
});

describe('norms over large buffers', () => {
  it('clips across chunks, and leaves small gradients alone', () => {
    const flat = torch.full([optim.CHUNK * 2 + 5], 2);
    const norm = Math.sqrt(4 * (optim.CHUNK * 2 + 5));
    expect(optim.gradNorm(flat)).toBeCloseTo(norm, 6);
    expect(optim.clipGradNorm_(flat, 1)).toBeCloseTo(norm, 6);
    expect(optim.gradNorm(flat)).toBeCloseTo(1, 4);
    expect(optim.clipGradNorm_(flat, 10)).toBeCloseTo(1, 4);
    expect(optim.gradNorm(flat)).toBeCloseTo(1, 4);
  });
});

describe('schedules', () => {
  it('constant and linear', () => {
    expect([0, 5, 1e9].map(optim.constantSchedule())).toEqual([1, 1, 1]);
    expect([0, 5, 10, 20].map(optim.linearSchedule({ numDecaySteps: 10, endFactor: 0.5 }))).toEqual([
      1, 0.75, 0.5, 0.5,
    ]);
    const options = { numWarmupSteps: 1, numDecaySteps: 10, peakLr: 0, decayLr: 0, numTrainingSteps: 10 };
    expect(craftError(() => optim.cosineDecayWithWarmup(options)).code).toBe('SCHEDULE_INVALID');
  });
});
