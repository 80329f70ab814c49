import * as ops from '../generated/ops.js';
import type { Tensor } from '../tensor.js';
import { Module } from './module.js';

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
