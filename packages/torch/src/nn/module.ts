import type { DType } from '../dtype.js';
import { CraftError } from '../errors.js';
import { noGrad } from '../grad-mode.js';
import { scope } from '../scope.js';
import type { Tensor } from '../tensor.js';
import { Buffer, Parameter } from './parameter.js';

/** Tensors by name, as `state_dict()` in PyTorch. */
export type StateDict = Map<string, Tensor>;

/** What did not fit when a state dict was loaded. */
export interface LoadReport {
  /** Names that the module has and the state dict lacks. */
  missing: string[];
  /** Names that the state dict has and the module lacks. */
  unexpected: string[];
  /** Names on both sides whose shapes differ. */
  misshaped: { name: string; expected: number[]; found: number[] }[];
}

/** A property's name in a state dict: camelCase becomes snake_case (`selfAttn` → `self_attn`), the rest stays. */
export function stateName(property: string): string {
  return property.replace(/(?<=[a-z0-9])[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/**
 * Base class of layers and policies, as `torch.nn.Module`. Parameters, buffers and modules that are assigned to properties are
 * found by walking the properties in the order of their assignment, and named as PyTorch names them (see `stateName`).
 *
 * @example
 * ```ts
 * class Net extends nn.Module {
 *   readonly linear1 = new nn.Linear(4, 8);
 *   override forward(x: Tensor): Tensor {
 *     return this.linear1.call(x).relu();
 *   }
 * }
 * new Net().namedParameters().map(([name]) => name); // ['linear1.weight', 'linear1.bias']
 * ```
 */
export abstract class Module {
  /** Whether layers behave as in training (dropout draws, batch norm updates). Set by `train()` and `eval()`. */
  training = true;

  /** Computes the output; call it through `call`. */
  abstract forward(...args: never[]): unknown;

  /** Runs `forward` in a scope of its own: whatever it does not return is freed. */
  call<A extends unknown[], R>(this: { forward(...args: A): R }, ...args: A): R {
    return scope(() => this.forward(...args));
  }

  private *own<T>(kind: abstract new (...args: never[]) => T): Generator<[string, T]> {
    for (const [property, value] of Object.entries(this)) {
      if (value instanceof kind) yield [stateName(property), value];
    }
  }

  namedChildren(): [string, Module][] {
    return [...this.own<Module>(Module)];
  }

  /**
   * Puts a module in the place of a child, under the child's name and at its place in the order.
   *
   * @param name as in `namedChildren`
   */
  replaceChild(name: string, module: Module): void {
    const found = Object.entries(this).find(
      ([key, value]) => value instanceof Module && stateName(key) === name,
    );
    if (found === undefined) throw new RangeError(`no module "${name}" to replace`);
    Reflect.set(this, found[0], module);
  }

  /** This module and all below it, parents first. */
  namedModules(prefix = ''): [string, Module][] {
    const below = this.namedChildren().flatMap(([name, child]) =>
      child.namedModules(prefix === '' ? name : `${prefix}.${name}`),
    );
    return [[prefix, this], ...below];
  }

  private named<T>(kind: abstract new (...args: never[]) => T): [string, T][] {
    return this.namedModules().flatMap(([prefix, module]) =>
      [...module.own(kind)].map(([name, value]): [string, T] => [
        prefix === '' ? name : `${prefix}.${name}`,
        value,
      ]),
    );
  }

  /** Every parameter once, under its first name; the order is PyTorch's (a module's own before its children's). */
  namedParameters(): [string, Parameter][] {
    const seen = new Set<Parameter>();
    return this.named(Parameter).filter(([, parameter]) => !seen.has(parameter) && seen.add(parameter));
  }

  parameters(): Parameter[] {
    return this.namedParameters().map(([, parameter]) => parameter);
  }

  namedBuffers(): [string, Buffer][] {
    return this.named(Buffer);
  }

  /** Every parameter and persistent buffer by name; shared ones under each of their names. The tensors are the module's own. */
  stateDict(): StateDict {
    const state: StateDict = new Map();
    for (const [prefix, module] of this.namedModules()) {
      const path = (name: string) => (prefix === '' ? name : `${prefix}.${name}`);
      for (const [name, parameter] of module.own(Parameter)) state.set(path(name), parameter);
      for (const [name, buffer] of module.own(Buffer)) if (buffer.persistent) state.set(path(name), buffer);
    }
    return state;
  }

  /**
   * Copies tensors by name into the module's own, converting dtype and device.
   *
   * @param options.strict default true: any difference is an error and nothing is copied. With false, what fits is copied.
   * @returns what did not fit (all empty when strict)
   * @throws CraftError STATE_DICT_MISMATCH naming missing, unexpected and misshaped tensors
   */
  loadStateDict(
    state: ReadonlyMap<string, Tensor>,
    options: { strict?: boolean; source?: string } = {},
  ): LoadReport {
    const own = this.stateDict();
    const report: LoadReport = {
      missing: [...own.keys()].filter((name) => !state.has(name)),
      unexpected: [...state.keys()].filter((name) => !own.has(name)),
      misshaped: [],
    };
    const fitting: [Tensor, Tensor][] = [];
    for (const [name, target] of own) {
      const source = state.get(name);
      if (source === undefined) continue;
      const [expected, found] = [target.shape, source.shape];
      if (expected.join() === found.join()) fitting.push([target, source]);
      else report.misshaped.push({ name, expected, found });
    }
    if (options.strict !== false) refuseDifferences(report, options.source ?? 'state dict');
    noGrad(() => {
      for (const [target, source] of fitting) target.copy_(source);
    });
    return report;
  }

  /** Training mode on (or off) here and below. */
  train(on = true): this {
    for (const [, module] of this.namedModules()) module.training = on;
    return this;
  }

  eval(): this {
    return this.train(false);
  }

  requiresGrad_(on = true): this {
    for (const parameter of this.parameters()) parameter.requiresGrad_(on);
    return this;
  }

  /** Moves parameters and buffers to a device and floating-point ones to a dtype; they keep their identity. */
  to(target: { device?: string; dtype?: DType }): this {
    for (const tensor of [...this.parameters(), ...this.namedBuffers().map(([, buffer]) => buffer)]) {
      const floating = tensor.isFloatingPoint;
      const moved = noGrad(() =>
        tensor.to({ device: target.device, dtype: floating ? target.dtype : undefined }),
      );
      tensor.setData_(moved);
      moved.dispose();
    }
    return this;
  }

  /** Frees every parameter and buffer now; the module is unusable afterwards. */
  dispose(): void {
    for (const tensor of this.stateDict().values()) tensor.dispose();
    for (const [, buffer] of this.namedBuffers()) buffer.dispose();
  }
}

/** @throws CraftError STATE_DICT_MISMATCH naming what did not fit, unless everything did */
export function refuseDifferences(report: LoadReport, source: string, hint = ''): void {
  const parts = [
    list('missing', report.missing),
    list('unexpected', report.unexpected),
    list(
      'misshaped',
      report.misshaped.map(({ name, expected, found }) => `${name} ([${found}], expected [${expected}])`),
    ),
  ].filter((part) => part !== '');
  if (parts.length > 0)
    throw new CraftError(
      'STATE_DICT_MISMATCH',
      `${source} does not fit the model${hint}: ${parts.join('; ')}`,
    );
}

function list(what: string, names: string[]): string {
  if (names.length === 0) return '';
  const shown = names.slice(0, 5).join(', ');
  return `${names.length} ${what} (${shown}${names.length > 5 ? ', …' : ''})`;
}

/** A layer from one tensor to another. */
export interface TensorModule extends Module {
  forward(x: Tensor): Tensor;
}

/** Modules under the names `0`, `1`, …; iterable. */
export class ModuleList<M extends Module = Module> extends Module implements Iterable<M> {
  readonly #items: M[];

  constructor(modules: readonly M[]) {
    super();
    this.#items = [...modules];
  }

  override namedChildren(): [string, Module][] {
    return this.#items.map((module, i) => [String(i), module]);
  }

  override replaceChild(name: string, module: Module): void {
    this.#items[indexOf(name, this.#items)] = module as M;
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
  readonly #items: TensorModule[];

  constructor(...modules: TensorModule[]) {
    super();
    this.#items = modules;
  }

  override namedChildren(): [string, Module][] {
    return this.#items.map((module, i) => [String(i), module]);
  }

  override replaceChild(name: string, module: Module): void {
    this.#items[indexOf(name, this.#items)] = module as TensorModule;
  }

  override forward(x: Tensor): Tensor {
    return this.#items.reduce((h, module) => module.call(h), x);
  }
}

function indexOf(name: string, items: readonly Module[]): number {
  const index = Number(name);
  if (items[index] === undefined) throw new RangeError(`no module "${name}" to replace`);
  return index;
}
