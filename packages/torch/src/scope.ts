import { type Handle, native } from './native.js';
import type { Tensor } from './tensor.js';

/**
 * JavaScript has no reference counting, so tensors belong to scopes: what is created in a scope is freed when it ends, except what
 * it returns. Tensors that belong to no scope are freed by `dispose()` or, as a safety net, by the garbage collector.
 */
export type Scope = Tensor[];

let current: Scope | null = null;

const collected = new FinalizationRegistry<{ handle: Handle; bytes: number }>(({ handle, bytes }) => {
  native.release(handle);
  native.adjustExternalMemory(-bytes);
});

/** Called by the constructor of Tensor. */
export function adopt(tensor: Tensor): void {
  moveTo(tensor, current);
}

function moveTo(tensor: Tensor, scope: Scope | null): void {
  tensor.scope = scope;
  if (scope !== null) scope.push(tensor);
  else watch(tensor);
}

function watch(tensor: Tensor): void {
  const bytes = native.ownBytes(tensor.h);
  tensor.watchedBytes = bytes;
  native.adjustExternalMemory(bytes);
  collected.register(tensor, { handle: tensor.h, bytes }, tensor);
}

function unwatch(tensor: Tensor): void {
  if (tensor.watchedBytes < 0) return;
  collected.unregister(tensor);
  native.adjustExternalMemory(-tensor.watchedBytes);
  tensor.watchedBytes = -1;
}

/** Frees one tensor now. */
export function disposeTensor(tensor: Tensor): void {
  if (tensor.h < 0) return;
  unwatch(tensor);
  native.release(tensor.h);
  tensor.h = -1;
}

/** Takes a tensor out of every scope: it lives until `dispose()` or garbage collection. */
export function keepTensor(tensor: Tensor): void {
  if (tensor.scope === null || tensor.h < 0) return;
  moveTo(tensor, null);
}

function hasTensors(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !ArrayBuffer.isView(value);
}

// Tensors inside arrays, plain objects and Maps escape; class instances (a Module, say) are looked into no further.
function moveOut(value: unknown, from: Scope, to: Scope | null): void {
  if (!hasTensors(value)) return;
  const tensor = value as Tensor;
  if (tensor.isTensor === true) {
    if (tensor.scope === from && tensor.h >= 0) moveTo(tensor, to);
    return;
  }
  if (Array.isArray(value)) for (const element of value) moveOut(element, from, to);
  else if (value instanceof Map) for (const element of value.values()) moveOut(element, from, to);
  else if (Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null) {
    for (const element of Object.values(value)) moveOut(element, from, to);
  }
}

// Grows to the largest scope seen, so that ending a scope allocates nothing.
let freeing = new Int32Array(1024);

function release(scope: Scope): void {
  if (scope.length === 0) return;
  if (scope.length > freeing.length) freeing = new Int32Array(scope.length * 2);
  let count = 0;
  for (const tensor of scope) {
    if (tensor.scope !== scope) continue;
    // Otherwise one disposed tensor that is still referenced would keep all the others of its scope alive.
    tensor.scope = null;
    if (tensor.h < 0) continue;
    freeing[count++] = tensor.h;
    tensor.h = -1;
  }
  native.releaseMany(freeing, count);
}

/**
 * Runs `body` and frees every tensor it created, except those it returns (a tensor, or tensors inside arrays, Maps and plain
 * objects), which move to the surrounding scope.
 *
 * @throws Error if `body` returns a promise: a scope ends when `body` returns, before anything it awaits.
 *
 * @example
 * ```ts
 * const norm = torch.scope(() => x.mul(x).sum().sqrt()); // the product and the sum are freed
 * ```
 */
export function scope<T>(body: () => T): T {
  const outer = current;
  const mine: Scope = [];
  current = mine;
  try {
    const result = body();
    if (result instanceof Promise)
      throw new Error('scope() needs a synchronous function: tensors would be freed while it waits');
    moveOut(result, mine, outer);
    return result;
  } finally {
    current = outer;
    release(mine);
  }
}
