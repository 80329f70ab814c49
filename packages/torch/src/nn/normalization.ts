import { ones, tensor, zeros } from '../creation.js';
import * as ops from '../generated/ops.js';
import { noGrad } from '../grad-mode.js';
import type { Tensor } from '../tensor.js';
import { Module } from './module.js';
import { Buffer, Parameter } from './parameter.js';

/** (x − mean) / √(variance + eps) · weight + bias over the last dimensions. */
export class LayerNorm extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  readonly normalizedShape: readonly number[];
  readonly eps: number;

  constructor(normalizedShape: number | readonly number[], options: { eps?: number; bias?: boolean } = {}) {
    super();
    this.normalizedShape = typeof normalizedShape === 'number' ? [normalizedShape] : normalizedShape;
    this.eps = options.eps ?? 1e-5;
    this.weight = new Parameter(ones(this.normalizedShape));
    this.bias = options.bias === false ? null : new Parameter(zeros(this.normalizedShape));
  }

  override forward(x: Tensor): Tensor {
    return ops.layerNorm(x, this.normalizedShape, this.weight, this.bias, this.eps);
  }
}

/** Batch normalisation of `[N, C, H, W]` with running statistics (momentum 0.1), as PyTorch's. */
export class BatchNorm2d extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;
  readonly runningMean: Buffer;
  readonly runningVar: Buffer;
  readonly numBatchesTracked: Buffer;
  readonly eps: number;
  readonly momentum: number;

  constructor(numFeatures: number, options: { eps?: number; momentum?: number } = {}) {
    super();
    this.eps = options.eps ?? 1e-5;
    this.momentum = options.momentum ?? 0.1;
    this.weight = new Parameter(ones([numFeatures]));
    this.bias = new Parameter(zeros([numFeatures]));
    this.runningMean = new Buffer(zeros([numFeatures]));
    this.runningVar = new Buffer(ones([numFeatures]));
    this.numBatchesTracked = new Buffer(tensor(0, { dtype: 'int64' }));
  }

  override forward(x: Tensor): Tensor {
    if (this.training) noGrad(() => this.numBatchesTracked.add_(1));
    return ops.batchNorm(
      x,
      this.weight,
      this.bias,
      this.runningMean,
      this.runningVar,
      this.training,
      this.momentum,
      this.eps,
    );
  }
}

/** Batch normalisation whose statistics and affine values are constants, as `torchvision.ops.FrozenBatchNorm2d`. */
export class FrozenBatchNorm2d extends Module {
  readonly weight: Buffer;
  readonly bias: Buffer;
  readonly runningMean: Buffer;
  readonly runningVar: Buffer;
  readonly eps: number;

  constructor(numFeatures: number, options: { eps?: number } = {}) {
    super();
    this.eps = options.eps ?? 1e-5;
    this.weight = new Buffer(ones([numFeatures]));
    this.bias = new Buffer(zeros([numFeatures]));
    this.runningMean = new Buffer(zeros([numFeatures]));
    this.runningVar = new Buffer(ones([numFeatures]));
  }

  override forward(x: Tensor): Tensor {
    const scale = this.weight.mul(this.runningVar.add(this.eps).rsqrt()).view([1, -1, 1, 1]);
    const shift = this.bias.view([1, -1, 1, 1]).sub(this.runningMean.view([1, -1, 1, 1]).mul(scale));
    return ops.addcmul(shift, x, scale);
  }
}
