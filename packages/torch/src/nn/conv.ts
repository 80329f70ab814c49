import { empty } from '../creation.js';
import * as ops from '../generated/ops.js';
import type { Tensor } from '../tensor.js';
import { kaimingUniform_, uniform_ } from './init.js';
import { Module } from './module.js';
import { Parameter } from './parameter.js';

/** A number for both directions, or [height, width]. */
export type Pair = number | readonly [number, number];

/** Two-dimensional convolution of `[N, inChannels, H, W]`; initialised as PyTorch's. */
export class Conv2d extends Module {
  /** `[outChannels, inChannels / groups, kernel height, kernel width]` */
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  private readonly options: { stride: Pair; padding: Pair; dilation: Pair; groups: number };

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Pair,
    options: { stride?: Pair; padding?: Pair; dilation?: Pair; groups?: number; bias?: boolean } = {},
  ) {
    super();
    const { stride = 1, padding = 0, dilation = 1, groups = 1, bias = true } = options;
    const [height, width] = typeof kernelSize === 'number' ? [kernelSize, kernelSize] : kernelSize;
    this.options = { stride, padding, dilation, groups };
    this.weight = new Parameter(empty([outChannels, inChannels / groups, height, width]));
    kaimingUniform_(this.weight, Math.sqrt(5));
    this.bias = bias ? new Parameter(empty([outChannels])) : null;
    const bound = 1 / Math.sqrt((inChannels / groups) * height * width);
    if (this.bias !== null) uniform_(this.bias, -bound, bound);
  }

  override forward(x: Tensor): Tensor {
    const { stride, padding, dilation, groups } = this.options;
    return ops.conv2d(x, this.weight, this.bias, stride, padding, dilation, groups);
  }
}

/** Largest value of each window. */
export class MaxPool2d extends Module {
  constructor(
    readonly kernelSize: Pair,
    readonly stride: Pair = kernelSize,
    readonly padding: Pair = 0,
  ) {
    super();
  }

  override forward(x: Tensor): Tensor {
    return ops.maxPool2d(x, this.kernelSize, this.stride, this.padding);
  }
}
