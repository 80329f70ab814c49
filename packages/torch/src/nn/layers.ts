import { empty } from '../creation.js';
import * as ops from '../generated/ops.js';
import type { Tensor } from '../tensor.js';
import { kaimingUniform_, normal_, uniform_ } from './init.js';
import { Module } from './module.js';
import { Parameter } from './parameter.js';

/** A table of vectors looked up by int64 indices: `[...]` → `[..., embeddingDim]`. Initialised N(0, 1). */
export class Embedding extends Module {
  /** `[numEmbeddings, embeddingDim]` */
  readonly weight: Parameter;

  constructor(numEmbeddings: number, embeddingDim: number) {
    super();
    this.weight = new Parameter(empty([numEmbeddings, embeddingDim]));
    normal_(this.weight);
  }

  override forward(indices: Tensor): Tensor {
    return ops.embedding(this.weight, indices);
  }
}

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

/** relu(x) = max(x, 0) */
export class ReLU extends Module {
  override forward(x: Tensor): Tensor {
    return ops.relu(x);
  }
}

/** x·Φ(x), exact; `tanh` for the approximation. */
export class GELU extends Module {
  constructor(readonly approximate: 'none' | 'tanh' = 'none') {
    super();
  }

  override forward(x: Tensor): Tensor {
    return ops.gelu(x, { approximate: this.approximate });
  }
}

/** x·sigmoid(x) */
export class SiLU extends Module {
  override forward(x: Tensor): Tensor {
    return ops.silu(x);
  }
}

export class Tanh extends Module {
  override forward(x: Tensor): Tensor {
    return ops.tanh(x);
  }
}

export class Sigmoid extends Module {
  override forward(x: Tensor): Tensor {
    return ops.sigmoid(x);
  }
}

/** The first half of the last dimension times the sigmoid of the second. */
export class GLU extends Module {
  override forward(x: Tensor): Tensor {
    return ops.glu(x);
  }
}

/** Zeroes elements with probability `p` in training and scales the rest by 1 / (1 − p); nothing in evaluation. */
export class Dropout extends Module {
  constructor(readonly p = 0.5) {
    super();
  }

  override forward(x: Tensor): Tensor {
    return this.training && this.p > 0 ? ops.dropout(x, this.p, true) : x;
  }
}

export class Identity extends Module {
  override forward(x: Tensor): Tensor {
    return x;
  }
}
