import { describe, expect, it } from 'vitest';
import { craftError } from '../../test/craft-error.js';
import type { Tensor } from '../index.js';
import * as torch from '../index.js';
import { stateName } from './module.js';

const { nn } = torch;

class Net extends nn.Module {
  readonly body = new nn.Sequential(new nn.Linear(2, 3), new nn.Dropout(0.5));
  readonly norm = new nn.BatchNorm2d(3);
  readonly frozen = new nn.FrozenBatchNorm2d(3);
  readonly scratch = new nn.Buffer(torch.zeros([1]), { persistent: false });

  override forward(x: Tensor): Tensor {
    return this.frozen.call(this.norm.call(this.body.call(x).view([-1, 3, 1, 1])));
  }
}

const names = (net: torch.nn.Module) => [...net.stateDict().keys()];

describe('names', () => {
  it('turn camelCase into snake_case and leave the rest', () => {
    const pairs = {
      selfAttn: 'self_attn',
      numBatchesTracked: 'num_batches_tracked',
      linear1: 'linear1',
      fc_out: 'fc_out',
      actionHeadProj2: 'action_head_proj2',
    };
    for (const [property, name] of Object.entries(pairs)) expect(stateName(property)).toBe(name);
  });

  it('are those of PyTorch; constants are buffers, temporary buffers stay out', () => {
    expect(names(new Net())).toEqual([
      'body.0.weight',
      'body.0.bias',
      'norm.weight',
      'norm.bias',
      'norm.running_mean',
      'norm.running_var',
      'norm.num_batches_tracked',
      'frozen.weight',
      'frozen.bias',
      'frozen.running_mean',
      'frozen.running_var',
    ]);
    expect(new Net().namedBuffers().map(([name]) => name)).toContain('scratch');
  });

  it('a parameter under two names is learned once and saved twice', () => {
    class Tied extends nn.Module {
      readonly a = new nn.Linear(2, 2, { bias: false });
      readonly b = this.a;
      override forward(): void {}
    }
    const tied = new Tied();
    expect(tied.namedParameters().map(([name]) => name)).toEqual(['a.weight']);
    expect(names(tied)).toEqual(['a.weight', 'b.weight']);
  });
});

describe('loadStateDict', () => {
  const other = () =>
    new Map([...new Net().stateDict()].map(([name, value]) => [name, value.detach().clone()]));

  it('copies everything, converting dtypes', () => {
    const [net, state] = [new Net(), other()];
    state.set('body.0.weight', state.get('body.0.weight')!.to('float64'));
    const weight = net.body.stateDict().get('0.weight');
    expect(net.loadStateDict(state)).toEqual({ missing: [], unexpected: [], misshaped: [] });
    expect(net.stateDict().get('body.0.weight')).toBe(weight);
    expect(weight!.dtype).toBe('float32');
    for (const [name, value] of net.stateDict())
      expect(value.tolist()).toEqual(state.get(name)!.to(value.dtype).tolist());
  });

  const broken = () => {
    const state = other();
    state.delete('norm.bias');
    state.set('extra', torch.zeros([1]));
    state.set('body.0.weight', torch.zeros([3, 5]));
    return state;
  };

  it('strict: names every difference and copies nothing', () => {
    const net = new Net();
    const before = net.stateDict().get('body.0.bias')!.tolist();
    const error = craftError(() => net.loadStateDict(broken(), { source: 'some/file.safetensors' }));
    expect(error.code).toBe('STATE_DICT_MISMATCH');
    expect(error.message).toBe(
      'some/file.safetensors does not fit the model: 1 missing (norm.bias); 1 unexpected (extra); ' +
        '1 misshaped (body.0.weight ([3,5], expected [3,2]))',
    );
    expect(net.stateDict().get('body.0.bias')!.tolist()).toEqual(before);
  });

  it('not strict: copies what fits and reports the rest', () => {
    const [net, state] = [new Net(), broken()];
    expect(net.loadStateDict(state, { strict: false })).toEqual({
      missing: ['norm.bias'],
      unexpected: ['extra'],
      misshaped: [{ name: 'body.0.weight', expected: [3, 2], found: [3, 5] }],
    });
    expect(net.stateDict().get('body.0.bias')!.tolist()).toEqual(state.get('body.0.bias')!.tolist());
  });
});

describe('modes', () => {
  it('train and eval reach every module', () => {
    const net = new Net();
    const x = torch.ones([4, 2]);
    expect(
      net
        .eval()
        .namedModules()
        .every(([, module]) => !module.training),
    ).toBe(true);
    expect(net.call(x).tolist()).toEqual(net.call(x).tolist());
    expect(net.norm.numBatchesTracked.item()).toBe(0);
    net.train();
    net.call(x);
    expect([net.norm.numBatchesTracked.item(), net.body.training]).toEqual([1, true]);
  });

  it('requiresGrad_ freezes; to() converts floating-point tensors and keeps identities', () => {
    const net = new Net().requiresGrad_(false);
    const parameters = net.parameters();
    expect(net.call(torch.ones([2, 2])).requiresGrad).toBe(false);
    net.to({ dtype: 'float64' });
    expect(net.parameters()).toEqual(parameters);
    expect(parameters.every((parameter) => parameter.dtype === 'float64')).toBe(true);
    expect([net.norm.runningMean.dtype, net.norm.numBatchesTracked.dtype]).toEqual(['float64', 'int64']);
    expect(net.call(torch.ones([2, 2], { dtype: 'float64' })).dtype).toBe('float64');
  });

  it('dispose frees every tensor', () => {
    const before = torch.memory().tensors;
    new Net().dispose();
    expect(torch.memory().tensors).toBe(before);
  });

  it('parameters made in a scope outlive it', () => {
    const net = torch.scope(() => new nn.Linear(2, 2));
    expect(net.call(torch.ones([1, 2])).shape).toEqual([1, 2]);
    expect(() => new nn.ModuleList([net]).at(1)).toThrow(RangeError);
  });

  it('FrozenBatchNorm2d is an affine map without gradients of its own', () => {
    const norm = new nn.FrozenBatchNorm2d(2, { eps: 0 });
    norm.runningMean.copy_(torch.tensor([1, 2]));
    norm.runningVar.copy_(torch.tensor([4, 0.25]));
    norm.weight.copy_(torch.tensor([2, 3]));
    norm.bias.copy_(torch.tensor([-1, 5]));
    const x = torch.tensor([3, 2.5], { shape: [1, 2, 1, 1], requiresGrad: true });
    const y = norm.call(x);
    expect(y.flatten().tolist()).toEqual([1, 8]);
    y.sum().backward();
    expect(x.grad!.flatten().tolist()).toEqual([1, 6]);
    expect(norm.parameters()).toEqual([]);
  });
});
