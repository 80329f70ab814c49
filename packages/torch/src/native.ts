import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { CraftError, TensorDisposedError, TorchError } from './errors.js';

/** A tensor as the addon knows it: an index into its slot table. */
export type Handle = number;

/** The addon's functions (native/*.cpp). Handles in, handles out; `Tensor` is the face of this for everybody else. */
export interface Native {
  call(operator: number, ...args: unknown[]): unknown;
  declareOp(name: string, overload: string): number;
  findOp(name: string, overload: string): number;
  schemaOf(operator: number): string;
  operatorNames(): string[];

  release(tensor: Handle): void;
  releaseMany(tensors: Int32Array, count: number): void;
  shape(tensor: Handle): number[];
  strides(tensor: Handle): number[];
  size(tensor: Handle, dim: number): number;
  dim(tensor: Handle): number;
  numel(tensor: Handle): number;
  dtype(tensor: Handle): number;
  device(tensor: Handle): string;
  isContiguous(tensor: Handle): boolean;
  ownBytes(tensor: Handle): number;
  useCount(tensor: Handle): number;
  alias(tensor: Handle): Handle;
  item(tensor: Handle): number | boolean | bigint;
  fromBuffer(array: ArrayBufferView, shape: readonly number[], dtype: number): Handle;
  copyOut(tensor: Handle, target: Uint8Array): void;
  memory(): [tensors: number, bytes: number];

  backward(outputs: Handle[], gradients: Handle[] | null, retainGraph: boolean, createGraph: boolean): void;
  grad(
    outputs: Handle[],
    inputs: Handle[],
    gradients: Handle[] | null,
    retainGraph: boolean,
    createGraph: boolean,
    allowUnused: boolean,
  ): (Handle | undefined)[];
  requiresGrad(tensor: Handle): boolean;
  setRequiresGrad(tensor: Handle, on: boolean): void;
  isLeaf(tensor: Handle): boolean;
  refuseGradient(leaf: Handle, message: string): void;
  sequenceNumber(): number;
  gradSequence(tensor: Handle): number;
  getGrad(tensor: Handle): Handle | undefined;
  setGrad(tensor: Handle, gradient: Handle | null): void;
  setData(tensor: Handle, data: Handle): void;
  setGradEnabled(on: boolean): boolean;
  gradEnabled(): boolean;
  gradBufferCreate(parameters: Handle[], views: Handle[]): number;
  gradBufferBegin(buffer: number): void;
  gradBufferEnd(buffer: number): boolean[];
  gradBufferRemove(buffer: number): void;

  manualSeed(seed: number | bigint): void;
  newGenerator(seed: number | bigint): number;
  releaseGenerator(generator: number): void;
  rngState(generator: number | string): Handle;
  setRngState(generator: number | string, state: Handle): void;
  numThreads(): number;
  setNumThreads(count: number): void;
  leaveRealTime(): void;
  cudaDeviceCount(): number;
  loadLibrary(path: string): void;
  version(): string;
  parallelInfo(): string;
  showConfig(): string;
  setErrorClasses(torchError: typeof TorchError, disposedError: typeof TensorDisposedError): void;
  adjustExternalMemory(bytes: number): void;
}

/** Path of the addon that this process uses: `CRAFT_TORCH_ADDON` where set, else the one that set-up built. */
export const addonPath: string =
  process.env.CRAFT_TORCH_ADDON ?? fileURLToPath(new URL('../build/torch.node', import.meta.url));

// libgomp's threads spin for a long while before they sleep, which is ruinous as soon as another program wants the processor too.
// It reads this when libtorch is loaded, below.
if (process.env.OMP_WAIT_POLICY === undefined) process.env.GOMP_SPINCOUNT ??= '20000';

function load(): Native {
  if (!existsSync(addonPath)) {
    throw new CraftError('ADDON_MISSING', `${addonPath} does not exist: run \`npm run setup\` to build it`);
  }
  try {
    return createRequire(import.meta.url)(addonPath) as Native;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CraftError(
      'ADDON_UNLOADABLE',
      `${addonPath} cannot be loaded (${reason}): run \`npm run setup\` to build it for the libtorch of this machine`,
      { cause },
    );
  }
}

export const native: Native = load();
native.setErrorClasses(TorchError, TensorDisposedError);
