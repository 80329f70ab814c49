import { expect, it } from 'vitest';
import '../index.js';
import type { Tensor } from '../tensor.js';
import { Linear } from './linear.js';
import { Module, ModuleList, Sequential } from './module.js';

class Net extends Module {
  readonly firstLayer = new Linear(2, 2);
  readonly list = new ModuleList([new Linear(2, 2), new Linear(2, 2)]);
  readonly stack = new Sequential(new Linear(2, 2));

  override forward(x: Tensor): Tensor {
    return this.stack.call(this.list.at(1).call(this.firstLayer.call(x)));
  }
}

it('a child is replaced under its name and at its place', () => {
  const net = new Net();
  const names = net.namedModules().map(([name]) => name);
  const [one, two, three] = [new Linear(2, 2), new Linear(2, 2), new Linear(2, 2)];
  net.replaceChild('first_layer', one);
  net.list.replaceChild('1', two);
  net.stack.replaceChild('0', three);
  expect(net.firstLayer).toBe(one);
  expect(net.list.at(1)).toBe(two);
  expect(net.stack.namedChildren()).toEqual([['0', three]]);
  expect(net.namedModules().map(([name]) => name)).toEqual(names);
  for (const [module, name] of [
    [net, 'second'],
    [net.list, '2'],
    [net.stack, 'x'],
  ] as const)
    expect(() => module.replaceChild(name, one)).toThrow(RangeError);
});
