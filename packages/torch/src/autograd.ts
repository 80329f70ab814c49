import { backwardThroughCheckpoints, hasCheckpoints } from './checkpoint.js';
import { CraftError } from './errors.js';
import { native } from './native.js';
import { handles } from './operator.js';
import { type Tensor, wrap } from './tensor.js';

/** How a backward pass treats the graph it walks. */
export interface BackwardOptions {
  /** Keep the graph for another pass. Default: `createGraph`. */
  retainGraph?: boolean;
  /** Record the backward pass itself, for higher derivatives. Default false. */
  createGraph?: boolean;
}

function withGradMode<T>(on: boolean, body: () => T): T {
  const before = native.setGradEnabled(on);
  try {
    const result = body();
    if (result instanceof Promise)
      throw new Error('the gradient mode needs a synchronous function: it belongs to the thread');
    return result;
  } finally {
    native.setGradEnabled(before);
  }
}

/** Runs `body` without recording operations for autograd. Synchronous functions only. */
export function noGrad<T>(body: () => T): T {
  return withGradMode(false, body);
}

/** Runs `body` with recording on, inside a `noGrad`. */
export function enableGrad<T>(body: () => T): T {
  return withGradMode(true, body);
}

/** Whether operations are recorded now. */
export function isGradEnabled(): boolean {
  return native.gradEnabled();
}

/**
 * Accumulates the gradients of `outputs` into `grad` of every leaf that requires them, as `torch.autograd.backward`.
 *
 * @param gradients one per output, of its shape; may be left out for outputs of one element
 */
export function backward(
  outputs: readonly Tensor[],
  gradients?: readonly Tensor[],
  options: BackwardOptions = {},
): void {
  if (hasCheckpoints()) backwardThroughCheckpoints(outputs, gradients, options);
  else runEngine(outputs, gradients, options);
}

/** One pass of libtorch's engine. */
export function runEngine(
  outputs: readonly Tensor[],
  gradients: readonly Tensor[] | undefined,
  { createGraph = false, retainGraph = createGraph }: BackwardOptions,
): void {
  native.backward(
    handles(outputs),
    gradients === undefined ? null : handles(gradients),
    retainGraph,
    createGraph,
  );
}

/**
 * Gradients of the sum of `outputs` with respect to `inputs`, accumulated nowhere, as `torch.autograd.grad`.
 *
 * @returns one per input, of its shape; null where `allowUnused` and no output depends on it
 * @throws CraftError CHECKPOINT_UNSUPPORTED while checkpoints wait for their backward pass
 * @throws TorchError where an input is unused and `allowUnused` is not set
 *
 * @example
 * ```ts
 * const x = torch.tensor([3], { requiresGrad: true });
 * torch.grad([x.mul(x).sum()], [x])[0]?.tolist(); // [6]
 * ```
 */
export function grad(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  options: BackwardOptions & { gradients?: readonly Tensor[]; allowUnused?: boolean } = {},
): (Tensor | null)[] {
  const { createGraph = false, retainGraph = createGraph, gradients, allowUnused = false } = options;
  if (hasCheckpoints()) {
    throw new CraftError(
      'CHECKPOINT_UNSUPPORTED',
      'grad() does not go through checkpoints: use backward(), or discardCheckpoints()',
    );
  }
  return native
    .grad(
      handles(outputs),
      handles(inputs),
      gradients === undefined ? null : handles(gradients),
      retainGraph,
      createGraph,
      allowUnused,
    )
    .map((handle) => (handle === undefined ? null : wrap(handle)));
}
