import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';
import { CraftError, TensorDisposedError, TorchError } from './errors.js';

/** A tensor as the addon knows it: an index into its slot table. */
export type Handle = number;

/** The addon's functions (native/*.cpp). Handles in, handles out; everything else uses `Tensor`. */
interface Native {
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
  dataPointers(tensors: Int32Array, out: BigInt64Array): void;
  firstMoved(tensors: Int32Array, pointers: BigInt64Array): number;
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
  beginGradWatch(): void;
  endGradWatch(): boolean;
  gradBufferCreate(parameters: Handle[], views: Handle[]): number;
  gradBufferBegin(buffer: number): void;
  gradBufferEnd(buffer: number): boolean[];
  gradBufferRemove(buffer: number): void;

  manualSeed(seed: number | bigint): void;
  newGenerator(seed: number | bigint): number;
  releaseGenerator(generator: number): void;
  rngState(generator: number | string): Handle;
  setRngState(generator: number | string, state: Handle): void;
  configure(threads: number | null): void;
  numThreads(): number;
  setNumThreads(count: number): void;
  leaveRealTime(): void;
  cudaDeviceCount(): number;
  loadLibrary(path: string): void;
  version(): string;
  setErrorClasses(torchError: typeof TorchError, disposedError: typeof TensorDisposedError): void;
  adjustExternalMemory(bytes: number): void;
}

/** Path of the addon that this process uses: `CRAFT_TORCH_ADDON` where set, else the one that set-up built. */
export const addonPath: string =
  process.env.CRAFT_TORCH_ADDON ?? fileURLToPath(new URL('../build/torch.node', import.meta.url));

/** What `configureRuntime` decided, for the first thread that loads libtorch; worker threads inherit it. */
interface RuntimeSettings {
  /** Threads of one operator; null leaves libtorch's own choice. */
  threads: number | null;
}

const SETTINGS = '@craft-ft/torch';
let loaded = false;
const operators = new Map<string, [number: number, name: string, overload: string]>();

/**
 * The addon. It is loaded, and libtorch with it, when the first of its functions is asked for: the prototype is a proxy that loads
 * the addon and copies its functions here, so that every later call finds them as ordinary properties.
 *
 * @throws CraftError ADDON_MISSING, ADDON_UNLOADABLE at the first use
 */
export const native: Native = Object.create(
  new Proxy(
    {},
    {
      get(_, name) {
        if (loaded || typeof name !== 'string') return undefined;
        load();
        return native[name as keyof Native];
      },
    },
  ),
);

function load(): void {
  if (!existsSync(addonPath)) {
    throw new CraftError(
      'ADDON_MISSING',
      `${addonPath} does not exist: run \`npm run setup\` (in a clone) or \`npx craft-setup\` to build it`,
    );
  }
  try {
    Object.assign(native, createRequire(import.meta.url)(addonPath));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CraftError(
      'ADDON_UNLOADABLE',
      `${addonPath} cannot be loaded (${reason}): run \`npm run setup\` (in a clone) or \`npx craft-setup\` to build it for the libtorch of this machine`,
      { cause },
    );
  }
  loaded = true;
  native.setErrorClasses(TorchError, TensorDisposedError);
  const settings = getEnvironmentData(SETTINGS) as unknown as RuntimeSettings | undefined;
  if (settings !== undefined) native.configure(settings.threads);
  for (const [number, name, overload] of operators.values()) {
    if (native.declareOp(name, overload) !== number) throw new Error(`internal: ${name} got another number`);
  }
}

/**
 * The addon's number for an operator, known before the addon is loaded. An operator missing from this libtorch also gets a number, and
 * throws when called.
 */
export function operator(name: string, overload: string): number {
  if (loaded) return native.declareOp(name, overload);
  const key = `${name}.${overload}`;
  const known = operators.get(key);
  if (known !== undefined) return known[0];
  operators.set(key, [operators.size, name, overload]);
  return operators.size - 1;
}

/** Applies settings to this process, now or as soon as a thread loads the addon. */
export function applySettings(settings: RuntimeSettings): void {
  setEnvironmentData(SETTINGS, settings as never);
  if (loaded) native.configure(settings.threads);
}
