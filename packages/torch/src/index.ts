/**
 * @packageDocumentation
 * libtorch for TypeScript: tensors, autograd, nn, optim and safetensors over libtorch's own dispatcher.
 */
import './generated/methods.js';

export * from './atomic.js';
export { backward, grad } from './autograd.js';
export { type BackwardOptions, checkpoint, discardCheckpoints } from './checkpoint.js';
export {
  arange,
  empty,
  eye,
  fromTypedArray,
  full,
  isTensor,
  linspace,
  ones,
  rand,
  randint,
  randn,
  randperm,
  type TensorOptions,
  tensor,
  zeros,
} from './creation.js';
export type { DType, TypedArray } from './dtype.js';
export { CraftError, TensorDisposedError, TorchError } from './errors.js';
export * from './generated/ops.js';
export { enableGrad, isGradEnabled, noGrad } from './grad-mode.js';
export { type Index, type Slice, slice } from './indexing.js';
export { addonPath } from './native.js';
export * as nn from './nn/index.js';
export { hasOperator, type Scalar } from './operator.js';
export * as optim from './optim/index.js';
export * from './random.js';
export {
  configureRuntime,
  cudaDeviceCount,
  cudaIsAvailable,
  getNumThreads,
  leaveRealTime,
  libtorchVersion,
  memory,
  setNumThreads,
} from './runtime.js';
export * as safetensors from './safetensors/index.js';
export { scope } from './scope.js';
export { type NestedArray, Tensor, type ToOptions } from './tensor.js';
