import { afterEach, describe, expect, it } from 'vitest';
import * as torch from './index.js';

const draw = () => [
  torch.rand([3]).tolist(),
  torch.randn([5]).tolist(),
  torch.dropout(torch.ones([20]), 0.5, true).tolist(),
];

afterEach(() => torch.manualSeed(0));

describe('the default generator', () => {
  it('repeats after manualSeed and draws what PyTorch draws', () => {
    torch.manualSeed(0);
    // torch.manual_seed(0); torch.rand(3)
    const expected = [0.49625658988952637, 0.7682217955589294, 0.08847743272781372];
    expect(torch.rand([3]).tolist()).toEqual(expected);
    torch.manualSeed(0n);
    expect(torch.rand([3]).tolist()).toEqual(expected);
    torch.manualSeed(2n ** 64n - 1n);
    const large = draw();
    torch.manualSeed(2n ** 64n - 1n);
    expect(draw()).toEqual(large);
    expect(() => torch.manualSeed(1.5)).toThrow(torch.TorchError);
  });

  it('goes on bit for bit from a saved state, also in the middle of a pair of normals', () => {
    torch.manualSeed(3);
    torch.randn([3]);
    const state = torch.getRngState();
    expect([state.dtype, state.shape]).toEqual(['uint8', [5056]]);
    const first = [draw(), draw()];
    torch.setRngState(torch.tensor(state.toTypedArray()));
    expect([draw(), draw()]).toEqual(first);
    expect(() => torch.setRngState(torch.zeros([3], { dtype: 'uint8' }))).toThrow(torch.TorchError);
  });
});

describe('Generator', () => {
  it('is a stream of its own', () => {
    const generator = new torch.Generator(0);
    torch.manualSeed(1);
    const shared = torch.rand([2]).tolist();
    torch.manualSeed(1);
    const own = torch.rand([3], { generator }).tolist();
    expect(torch.rand([2]).tolist()).toEqual(shared);
    torch.manualSeed(0);
    expect(torch.rand([3]).tolist()).toEqual(own);
  });

  it('saves and restores its state', () => {
    const generator = new torch.Generator(7);
    torch.randperm(10, { generator });
    const state = generator.getState();
    const next = torch.randperm(10, { generator }).tolist();
    generator.setState(state);
    expect(torch.randperm(10, { generator }).tolist()).toEqual(next);
    const other = new torch.Generator(8);
    other.setState(state);
    expect(torch.randperm(10, { generator: other }).tolist()).toEqual(next);
  });
});
