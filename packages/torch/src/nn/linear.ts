import { empty } from '../creation.js';
import * as ops from '../generated/ops.js';
import { isGradEnabled } from '../grad-mode.js';
import type { Tensor } from '../tensor.js';
import { kaimingUniform_, uniform_ } from './init.js';
import { Module } from './module.js';
import { Parameter } from './parameter.js';

/** y = x·Wᵀ + b. Input `[..., inFeatures]`, output `[..., outFeatures]`; initialised as PyTorch's. */
export class Linear extends Module {
  /** `[outFeatures, inFeatures]` */
  readonly weight: Parameter;
  /** `[outFeatures]`, or null */
  readonly bias: Parameter | null;

  constructor(inFeatures: number, outFeatures: number, options: { bias?: boolean } = {}) {
    super();
    this.weight = new Parameter(empty([outFeatures, inFeatures]));
    kaimingUniform_(this.weight, Math.sqrt(5));
    this.bias = options.bias === false ? null : new Parameter(empty([outFeatures]));
    if (this.bias !== null) uniform_(this.bias, -1 / Math.sqrt(inFeatures), 1 / Math.sqrt(inFeatures));
  }

  override forward(x: Tensor): Tensor {
    return this.isOneVector(x) ? this.ofVector(x) : ops.linear(x, this.weight, this.bias);
  }

  // The general matrix product takes twice as long for a single row, which is what decoding consists of.
  private isOneVector(x: Tensor): boolean {
    const length = this.weight.size(1);
    if (x.numel !== length || x.ndim === 0 || x.size(-1) !== length) return false;
    return x.device === 'cpu' && x.dtype === 'float32' && !isGradEnabled();
  }

  private ofVector(x: Tensor): Tensor {
    const vector = x.reshape([-1]);
    const y = ops.mv(this.weight, vector);
    const shaped = y.view([...x.shape.slice(0, -1), -1]);
    return this.bias === null ? shaped : shaped.add(this.bias);
  }
}
