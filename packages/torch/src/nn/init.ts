import { noGrad } from '../grad-mode.js';
import type { Tensor } from '../tensor.js';

/**
 * @file Initialisers, as `torch.nn.init`: each fills a tensor in place and returns it. With the same seed they draw the same
 * numbers as PyTorch.
 */

let skipping = false;

/**
 * Runs `body` with every initialiser switched off: layers made in it hold whatever the memory holds. For models whose weights are
 * loaded afterwards; nothing is drawn and memory is not touched twice. Synchronous functions only.
 */
export function withoutInit<T>(body: () => T): T {
  const before = skipping;
  skipping = true;
  try {
    return body();
  } finally {
    skipping = before;
  }
}

function fill(tensor: Tensor, body: () => Tensor): Tensor {
  return skipping ? tensor : noGrad(body);
}

// Fan-in and fan-out count the receptive field of a convolution's kernel.
function fans(tensor: Tensor): [fanIn: number, fanOut: number] {
  const [out, inner, ...kernel] = tensor.shape;
  const field = kernel.reduce((product, n) => product * n, 1);
  return [inner * field, out * field];
}

function uniform(tensor: Tensor, bound: number): Tensor {
  return fill(tensor, () => tensor.uniform_(-bound, bound));
}

export function uniform_(tensor: Tensor, low = 0, high = 1): Tensor {
  return fill(tensor, () => tensor.uniform_(low, high));
}

export function normal_(tensor: Tensor, mean = 0, std = 1): Tensor {
  return fill(tensor, () => tensor.normal_(mean, std));
}

export function constant_(tensor: Tensor, value: number): Tensor {
  return fill(tensor, () => tensor.fill_(value));
}

export function zeros_(tensor: Tensor): Tensor {
  return fill(tensor, () => tensor.zero_());
}

/** Uniform on ±gain·√(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010). */
export function xavierUniform_(tensor: Tensor, gain = 1): Tensor {
  const [fanIn, fanOut] = fans(tensor);
  return uniform(tensor, gain * Math.sqrt(6 / (fanIn + fanOut)));
}

/** Normal with standard deviation gain·√(2 / (fan_in + fan_out)). */
export function xavierNormal_(tensor: Tensor, gain = 1): Tensor {
  const [fanIn, fanOut] = fans(tensor);
  return normal_(tensor, 0, gain * Math.sqrt(2 / (fanIn + fanOut)));
}

/** Uniform on ±√(6 / ((1 + a²)·fan_in)) (He et al., 2015), for leaky ReLU of slope `a`. */
export function kaimingUniform_(tensor: Tensor, a = 0): Tensor {
  return uniform(tensor, Math.sqrt(6 / ((1 + a * a) * fans(tensor)[0])));
}

/** Normal with variance 2 / fan, for ReLU. */
export function kaimingNormal_(tensor: Tensor, mode: 'fanIn' | 'fanOut' = 'fanIn'): Tensor {
  const [fanIn, fanOut] = fans(tensor);
  return normal_(tensor, 0, Math.sqrt(2 / (mode === 'fanIn' ? fanIn : fanOut)));
}

/** Normal, cut to [low, high] by drawing the cut distribution itself (inverse of the error function). */
export function truncNormal_(tensor: Tensor, mean = 0, std = 1, low = -2, high = 2): Tensor {
  // P(X < x) of the uncut normal, mapped to erf's range.
  const edge = (x: number) => erf((x - mean) / (std * Math.SQRT2));
  return fill(tensor, () => {
    tensor.uniform_(edge(low), edge(high));
    tensor.copy_(tensor.erfinv());
    return tensor
      .mul_(std * Math.SQRT2)
      .add_(mean)
      .clamp_(low, high);
  });
}

// Abramowitz and Stegun 7.1.26 would give 1e-7; the series converges to double precision for the few standard deviations needed.
function erf(x: number): number {
  if (Math.abs(x) > 5) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; n < 200 && Math.abs(term) > 1e-17; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}
