import { describe, expect, it } from 'vitest';
import { craftError } from '../test/craft-error.js';
import * as torch from './index.js';
import { native, operator } from './native.js';

const x = torch.ones([2, 3]);

describe('what libtorch refuses', () => {
  it('names operator, dtypes and shapes, and is one line without a backtrace', () => {
    const error = craftError(() => x.matmul(torch.ones([4, 5])));
    expect(error).toBeInstanceOf(torch.TorchError);
    expect(error.code).toBe('TORCH_ERROR');
    expect(error.message).toMatch(/^aten::matmul\(Float\[2, 3\], Float\[4, 5\]\): /i);
    expect(error.message).toContain('shapes cannot be multiplied');
    expect(error.message).not.toMatch(/\n|Exception raised from|frame #|\.cpp/);
    expect(error.stack).toContain('errors.test.ts');
  });

  it('names the tensors of a list', () => {
    expect(craftError(() => torch.cat([x, torch.ones([3, 2])])).message).toMatch(
      /^aten::cat\(float\[2, 3\], float\[3, 2\]\): /i,
    );
  });

  it('says which overload and which argument', () => {
    expect(craftError(() => x.add({} as torch.Tensor)).message).toMatch(
      /^aten::add\.Tensor\(.*\): argument 'other': expected a tensor/,
    );
    expect(craftError(() => x.narrow(0, 0.5, 1)).message).toContain(
      "argument 'start': expected an integer, found 0.5",
    );
    expect(craftError(() => x.softmax('x' as unknown as number)).message).toContain("argument 'dim'");
    expect(craftError(() => x.view(undefined as unknown as number[])).message).toContain(
      "missing argument 'size'",
    );
  });

  it('says which is disposed', () => {
    const gone = torch.ones([1]);
    gone.dispose();
    expect(craftError(() => x.add(gone)).message).toMatch(
      /^aten::add\.Tensor\(float\[2, 3\], disposed\): a tensor was used after/i,
    );
  });

  // Asking for such a tensor's shape is an error too, in the middle of making the message of the first.
  it.skipIf(!torch.hasOperator('_nested_tensor_from_tensor_list'))(
    'says so of tensors without a shape',
    () => {
      const nest = operator('aten::_nested_tensor_from_tensor_list', '');
      const nested = native.call(nest, [torch.ones([2, 2]).h, torch.ones([3, 2]).h]);
      const error = craftError(() => native.call(operator('aten::matmul', ''), nested, torch.ones([7]).h));
      expect(error.message).toMatch(/^aten::matmul\(float\[\?\], float\[7\]\): /i);
    },
  );

  it('covers the backward pass', () => {
    const error = craftError(() => x.backward());
    expect(error.message).toMatch(/^backward: /);
    expect(error.message).not.toContain('\n');
  });
});

describe('operators that this libtorch lacks', () => {
  it('name themselves and the version when called, not before', () => {
    const absent = operator('aten::no_such_operator', 'Tensor');
    const error = craftError(() => native.call(absent, x.h));
    expect(error.message).toContain('aten::no_such_operator.Tensor is not in libtorch');
    expect(torch.hasOperator('no_such_operator')).toBe(false);
    expect([torch.hasOperator('add.Tensor'), torch.hasOperator('aten::relu')]).toEqual([true, true]);
  });
});

describe('signatures', () => {
  it('choose the overload by what is given', () => {
    const y = torch.tensor([5, -5]);
    expect(y.div(2).tolist()).toEqual([2.5, -2.5]);
    expect(y.div(2, { roundingMode: 'floor' }).tolist()).toEqual([2, -3]);
    expect(y.div(torch.tensor(2), { roundingMode: 'trunc' }).tolist()).toEqual([2, -2]);
    expect(y.max().item()).toBe(5);
    expect(y.max(0)[1].item()).toBe(0);
    expect(y.max(torch.tensor(1)).tolist()).toEqual([5, 1]);
    expect(y.sum({ dtype: 'float64' }).dtype).toBe('float64');
    expect(y.clamp(null, 1).tolist()).toEqual([1, -5]);
    expect(torch.where(y.gt(0), 1, y).tolist()).toEqual([1, -5]);
    expect(torch.where(y.gt(0), 1.5, -1.5).tolist()).toEqual([1.5, -1.5]);
    expect(y.std([0], { correction: 0 }).item()).toBe(5);
    expect(y.pow(2).tolist()).toEqual([25, 25]);
    expect(torch.tensor([7], { dtype: 'int64' }).add(1).dtype).toBe('int64');
    expect(torch.tensor([7], { dtype: 'int64' }).mul(0.5).tolist()).toEqual([3.5]);
    expect(torch.meshgrid([y, y], { indexing: 'ij' }).length).toBe(2);
    expect(torch.broadcastTensors([y, torch.ones([3, 1])]).map((t) => t.shape)).toEqual([
      [3, 2],
      [3, 2],
    ]);
  });

  it('in-place forms return the very tensor', () => {
    const y = torch.ones([2]);
    expect(y.add_(1).mul_(torch.tensor([2, 3]))).toBe(y);
    expect(torch.add_(y, 1)).toBe(y);
    expect(y.tolist()).toEqual([5, 7]);
  });
});
