import { empty } from '../creation.js';
import * as ops from '../generated/ops.js';
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
    return ops.linear(x, this.weight, this.bias);
  }
}
