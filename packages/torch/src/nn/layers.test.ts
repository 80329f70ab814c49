import { describe, expect, it } from 'vitest';
import { type Packed, readGolden, unpack } from '../../test/golden.js';
import { expectClose } from '../../test/numeric.js';
import type { Tensor } from '../index.js';
import * as torch from '../index.js';

const { nn } = torch;
const F = nn.functional;

interface Case {
  initial: Record<string, Packed>;
  inputs: Packed[];
  output: Packed;
  input_gradients: Packed[];
  gradients: Record<string, Packed>;
  parameters: string[];
  buffers_after: Record<string, Packed>;
}

const golden = readGolden<{ cases: Record<string, Case>; initialisers: Record<string, Packed> }>('nn.json');

/** Mirrors `Block` of fixtures/make.py. */
class Block extends nn.Module {
  readonly clsToken = new nn.Parameter(torch.ones([1, 4]));
  readonly selfAttn = new nn.MultiheadAttention(4, 2);
  readonly layers = new nn.ModuleList([new nn.Linear(4, 4), new nn.LayerNorm(4)]);
  readonly mlp = new nn.Sequential(new nn.Linear(4, 6), new nn.GELU(), new nn.Linear(6, 4, { bias: false }));
  readonly linear1 = new nn.Linear(4, 4);

  override forward(x: Tensor): Tensor {
    let h = this.selfAttn.call(x, x, x).add(this.clsToken);
    for (const layer of this.layers) h = layer.call(h);
    return this.linear1.call(this.mlp.call(h));
  }
}

const padding = torch.tensor([
  [false, false, true],
  [false, false, false],
]);
const causal = torch.ones([3, 3], { dtype: 'bool' }).triu(1);
const perHead = torch.arange(36, { dtype: 'float32' }).view([4, 3, 3]).div(10);
const weight = torch.tensor([1, 2, 3, 4]);
const classes = torch.tensor([1, -100, 3], { dtype: 'int64' });

type Make = () => torch.nn.Module;
type Call = (...x: Tensor[]) => Tensor;
const call =
  (module: torch.nn.Module) =>
  (...x: Tensor[]) =>
    (module as torch.nn.TensorModule).call(...(x as [Tensor]));
const attention = (masks: torch.nn.AttentionMasks) => (module: torch.nn.Module) => {
  const layer = module as torch.nn.MultiheadAttention;
  return ((q: Tensor, k = q, v = q) => layer.call(q, k, v, masks)) as Call;
};
const pure = (f: Call) => [() => new nn.Identity(), () => f] as const;

const layers: Record<string, readonly [make: Make, call?: (module: torch.nn.Module) => Call]> = {
  Linear: [() => new nn.Linear(3, 4)],
  'Linear without bias': [() => new nn.Linear(3, 2, { bias: false })],
  Embedding: [() => new nn.Embedding(5, 3)],
  LayerNorm: [() => new nn.LayerNorm(4)],
  'LayerNorm over two dimensions': [() => new nn.LayerNorm([3, 4], { eps: 1e-3 })],
  Conv2d: [() => new nn.Conv2d(2, 3, 3)],
  'Conv2d with everything': [
    () =>
      new nn.Conv2d(4, 2, [3, 2], {
        stride: [2, 1],
        padding: [1, 2],
        dilation: [1, 2],
        groups: 2,
        bias: false,
      }),
  ],
  MaxPool2d: [() => new nn.MaxPool2d(3, 2, 1)],
  BatchNorm2d: [() => new nn.BatchNorm2d(2)],
  'BatchNorm2d in evaluation': [() => new nn.BatchNorm2d(2).eval()],
  GELU: [() => new nn.GELU()],
  'GELU tanh': [() => new nn.GELU('tanh')],
  SiLU: [() => new nn.SiLU()],
  GLU: [() => new nn.GLU()],
  Dropout: [() => new nn.Dropout(0.4)],
  MultiheadAttention: [() => new nn.MultiheadAttention(4, 2), attention({})],
  'MultiheadAttention with padding': [
    () => new nn.MultiheadAttention(4, 2, { batchFirst: true }),
    attention({ keyPaddingMask: padding }),
  ],
  'MultiheadAttention with a causal mask': [
    () => new nn.MultiheadAttention(4, 2, { bias: false }),
    attention({ attnMask: causal }),
  ],
  'MultiheadAttention with both masks': [
    () => new nn.MultiheadAttention(4, 2),
    attention({ attnMask: perHead, keyPaddingMask: padding }),
  ],
  Block: [() => new Block()],
  crossEntropy: pure((x) => F.crossEntropy(x, classes, { weight, labelSmoothing: 0.1 })),
  'interpolate bilinear': pure((x) => F.interpolate(x, { size: [5, 2] })),
  'interpolate bilinear aligned': pure((x) => F.interpolate(x, { size: [5, 2], alignCorners: true })),
  'interpolate bicubic antialiased': pure((x) =>
    F.interpolate(x, { size: [3, 4], mode: 'bicubic', antialias: true }),
  ),
  'interpolate nearest': pure((x) => F.interpolate(x, { size: [5, 2], mode: 'nearest' })),
};

describe('layers equal PyTorch', () => {
  it('has every recorded case', () => {
    expect(Object.keys(layers).sort()).toEqual(Object.keys(golden.cases).sort());
  });

  it.each(Object.entries(layers))(
    '%s: names, seeded initial values, output, gradients',
    (name, [make, use = call]) => {
      const expected = golden.cases[name];
      torch.manualSeed(0);
      const module = make();
      expect(module.namedParameters().map(([parameter]) => parameter)).toEqual(expected.parameters);
      expect([...module.stateDict().keys()]).toEqual(Object.keys(expected.initial));
      for (const [key, value] of module.stateDict()) expectClose(value, unpack(expected.initial[key]), 1e-6);

      const inputs = expected.inputs.map((packed) => {
        const input = unpack(packed);
        return input.requiresGrad_(input.isFloatingPoint);
      });
      const output = use(module)(...inputs);
      expectClose(output, unpack(expected.output), 1e-5);
      const weights = torch.linspace(0.5, 1.5, output.numel).view(output.shape);
      output.mul(weights).sum().backward();
      const differentiable = inputs.filter((input) => input.requiresGrad);
      expected.input_gradients.forEach((gradient, i) => {
        expectClose(differentiable[i].grad!, unpack(gradient), 1e-5);
      });
      for (const [key, parameter] of module.namedParameters()) {
        expectClose(parameter.grad!, unpack(expected.gradients[key]), 1e-5);
      }
      for (const [key, buffer] of module.namedBuffers())
        expectClose(buffer, unpack(expected.buffers_after[key]), 1e-6);
    },
  );
});

describe('initialisers draw what PyTorch draws', () => {
  const { init } = nn;
  const fills: Record<string, (t: Tensor) => Tensor> = {
    xavierUniform_: (t) => init.xavierUniform_(t),
    xavierNormal_: (t) => init.xavierNormal_(t),
    kaimingUniform_: (t) => init.kaimingUniform_(t, Math.sqrt(5)),
    kaimingNormal_: (t) => init.kaimingNormal_(t, 'fanOut'),
    truncNormal_: (t) => init.truncNormal_(t, 0, 0.02),
    'truncNormal_ cut': (t) => init.truncNormal_(t, 0.5, 1.5, -1, 2),
  };
  it.each(Object.entries(golden.initialisers))('%s', (name, packed) => {
    torch.manualSeed(0);
    expectClose(fills[name](torch.empty(packed.shape)), unpack(packed), 1e-6);
  });
});

describe('scaledDotProductAttention', () => {
  const [q, k, v] = [
    [2, 2, 3, 4],
    [2, 2, 5, 4],
    [2, 2, 5, 4],
  ].map((shape) => torch.randn(shape, { dtype: 'float64' }));
  const mask = torch.rand([3, 5]).gt(0.3).indexPut_([torch.slice(), 0], true);
  const composed = (m: Tensor | null, isCausal: boolean) => F.composedAttention(q, k, v, m, 0, isCausal);

  it('fused and composed forms agree for every kind of mask', () => {
    const additive = torch.zeros([3, 5], { dtype: 'float64' }).maskedFill(mask.logicalNot(), -Infinity);
    expectClose(F.scaledDotProductAttention(q, k, v), composed(null, false), 1e-12);
    expectClose(F.scaledDotProductAttention(q, k, v, { isCausal: true }), composed(null, true), 1e-12);
    expectClose(F.scaledDotProductAttention(q, k, v, { attnMask: mask }), composed(mask, false), 1e-12);
    expectClose(composed(additive, false), composed(mask, false), 1e-12);
    expectClose(F.scaledDotProductAttention(q, k, v, { scale: 0.5 }), composed(null, false), 1e-12);
    expect(() => F.scaledDotProductAttention(q, k, v, { attnMask: mask, isCausal: true })).toThrow('exclude');
  });

  it('drops whole attention weights in training', () => {
    const dropped = F.scaledDotProductAttention(q, k, torch.ones([2, 2, 5, 4], { dtype: 'float64' }), {
      dropoutP: 0.5,
    });
    expect(dropped.sub(1).abs().max().item()).toBeGreaterThan(0.01);
  });
});
