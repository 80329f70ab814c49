import { scope } from './scope.js';
import type { NestedArray, Tensor } from './tensor.js';

const EDGE = 3;
const THRESHOLD = 1000;

function number(value: NestedArray): string {
  if (typeof value !== 'number' || Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return size >= 1e5 || size < 1e-4 ? value.toExponential(4) : value.toFixed(4);
}

function rows(value: NestedArray, summarise: boolean, indent: string): string {
  if (!Array.isArray(value)) return number(value);
  const parts = value.map((element) => rows(element, summarise, `${indent} `));
  const shown =
    summarise && parts.length > 2 * EDGE ? [...parts.slice(0, EDGE), '...', ...parts.slice(-EDGE)] : parts;
  return `[${shown.join(Array.isArray(value[0]) ? `,\n${indent} ` : ', ')}]`;
}

// Only the corners of a large tensor are read: printing one of a gigabyte must not copy a gigabyte.
function corners(tensor: Tensor): Tensor {
  let view = tensor.detach();
  for (let dim = 0; dim < tensor.ndim; dim++) {
    const length = tensor.size(dim);
    if (length <= 2 * EDGE + 1) continue;
    // One element more than is shown marks that something was left out.
    const head = view.narrow(dim, 0, EDGE + 1);
    const tail = view.narrow(dim, length - EDGE, EDGE);
    view = concatenate(head, tail, dim);
  }
  return view;
}

function concatenate(head: Tensor, tail: Tensor, dim: number): Tensor {
  const length = head.size(dim) + tail.size(dim);
  const shape = head.shape.map((n, i) => (i === dim ? length : n));
  const whole = head.expand(head.shape).clone().resize_(shape);
  whole.narrow(dim, 0, head.size(dim)).copy_(head);
  whole.narrow(dim, head.size(dim), tail.size(dim)).copy_(tail);
  return whole;
}

/** PyTorch-like text: `tensor([[1, 2], [3, 4]], float32)`, the middle of more than 1,000 elements left out. */
export function format(tensor: Tensor): string {
  const summarise = tensor.numel > THRESHOLD;
  const values = scope(() => (summarise ? corners(tensor) : tensor.detach()).tolist());
  const body = rows(values, summarise, '       ');
  const shape = summarise ? `, [${tensor.shape}]` : '';
  const device = tensor.device === 'cpu' ? '' : `, ${tensor.device}`;
  return `tensor(${body}, ${tensor.dtype}${shape}${device}${tensor.requiresGrad ? ', requiresGrad' : ''})`;
}
