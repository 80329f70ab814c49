import { native } from '../native.js';
import { Tensor } from '../tensor.js';

// A second handle to the same libtorch tensor, outside every scope: a module's tensors live as long as the module.
function own(source: Tensor): number {
  const handle = native.alias(source.h);
  source.dispose();
  return handle;
}

/** A tensor that a module learns. Assigned to a module's property it appears in `namedParameters()` and the state dict. */
export class Parameter extends Tensor {
  /**
   * @param source its values; the parameter takes the tensor over (do not use it afterwards)
   * @param requiresGrad default true
   */
  constructor(source: Tensor, requiresGrad = true) {
    super(own(source));
    this.keep();
    this.requiresGrad_(requiresGrad);
  }
}

/** A tensor that belongs to a module but is not learned, such as a running mean (PyTorch's `register_buffer`). */
export class Buffer extends Tensor {
  /** Whether the state dict holds it. */
  readonly persistent: boolean;

  /** @param source its values; the buffer takes the tensor over */
  constructor(source: Tensor, options: { persistent?: boolean } = {}) {
    super(own(source));
    this.keep();
    this.persistent = options.persistent ?? true;
  }
}
