import type { Tensor } from '../tensor.js';
import { Module } from './module.js';

/** A layer from one tensor to another. */
export interface TensorModule extends Module {
  forward(x: Tensor): Tensor;
}

/** Modules under the names `0`, `1`, …; iterable. */
export class ModuleList<M extends Module = Module> extends Module implements Iterable<M> {
  readonly #items: readonly M[];

  constructor(modules: readonly M[]) {
    super();
    this.#items = [...modules];
  }

  override namedChildren(): [string, Module][] {
    return this.#items.map((module, i) => [String(i), module]);
  }

  get length(): number {
    return this.#items.length;
  }

  at(i: number): M {
    const module = this.#items.at(i);
    if (module === undefined) throw new RangeError(`module ${i} of ${this.#items.length}`);
    return module;
  }

  [Symbol.iterator](): Iterator<M> {
    return this.#items[Symbol.iterator]();
  }

  override forward(): never {
    throw new Error('a ModuleList is no layer: call its modules');
  }
}

/** Layers one after the other, under the names `0`, `1`, … */
export class Sequential extends Module {
  readonly #items: readonly TensorModule[];

  constructor(...modules: TensorModule[]) {
    super();
    this.#items = modules;
  }

  override namedChildren(): [string, Module][] {
    return this.#items.map((module, i) => [String(i), module]);
  }

  override forward(x: Tensor): Tensor {
    return this.#items.reduce((h, module) => module.call(h), x);
  }
}
