import { type BackwardOptions, backwardThroughCheckpoints, hasCheckpoints, runEngine } from './checkpoint.js';
import { CraftError } from './errors.js';
import { native } from './native.js';
import { handles } from './operator.js';
import { addMethods, type Tensor, wrap } from './tensor.js';

declare module './tensor.js' {
  interface Tensor {
    /** Gradients of this scalar with respect to every leaf that requires them; see `torch.backward`. */
    backward(gradient?: Tensor, options?: BackwardOptions): void;
  }
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

/**
 * Gradients of the sum of `outputs` with respect to `inputs`, without accumulating into `grad`, as `torch.autograd.grad`.
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

addMethods({
  backward(this: Tensor, gradient?: Tensor, options?: BackwardOptions) {
    backward([this], gradient === undefined ? undefined : [gradient], options);
  },
});
