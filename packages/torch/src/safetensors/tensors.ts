import { DTYPES, type DType, dtypeCode } from '../dtype.js';
import { CraftError } from '../errors.js';
import { noGrad } from '../grad-mode.js';
import { native } from '../native.js';
import { scope } from '../scope.js';
import { type Tensor, wrap } from '../tensor.js';
import { type SafetensorsDtype, safetensorsDtype, torchDtype } from './dtypes.js';
import type { TensorInfo, TensorSource } from './file.js';
import { invalid } from './header.js';
import { quote } from './json.js';
import { openCheckpoint } from './sharded.js';
import { type SafetensorsMetadata, writeSafetensors } from './write.js';

/** Tensors on disk, read one at a time; what `open` returns. */
export class TensorFile implements Disposable {
  /** @param source where the bytes come from; closed together with this */
  constructor(readonly source: TensorSource) {}

  /** Every tensor's name. */
  get names(): readonly string[] {
    return this.source.names;
  }

  /** Free-form strings stored beside the tensors. */
  get metadata(): ReadonlyMap<string, string> {
    return this.source.metadata;
  }

  has(name: string): boolean {
    return this.source.has(name);
  }

  /** Stored dtype, shape and size in bytes, without reading the tensor. @throws CraftError `TENSOR_NOT_FOUND` */
  info(name: string): TensorInfo {
    return this.source.info(name);
  }

  /** Reads one tensor; see {@link getTensor}. */
  get(name: string, device = 'cpu'): Tensor {
    return getTensor(this.source, name, device);
  }

  close(): void {
    this.source.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Opens a checkpoint for reading tensor by tensor: a safetensors file, an index of shards, or a folder that holds either.
 *
 * @throws CraftError as {@link openCheckpoint}
 *
 * @example
 * ```ts
 * using file = torch.safetensors.open('pretrained_model/model.safetensors');
 * const weight = file.get('model.action_head.weight');
 * ```
 */
export function open(path: string): TensorFile {
  return new TensorFile(openCheckpoint(path));
}

/**
 * Reads one tensor from disk, without a copy in between: libtorch uses the memory that was read into.
 *
 * @throws CraftError `TENSOR_NOT_FOUND`; `SAFETENSORS_INVALID` when the file is damaged; `DTYPE_UNSUPPORTED` for stored dtypes that
 * no tensor has here (U16, U32, U64, 8-bit floats)
 */
function getTensor(source: TensorSource, name: string, device = 'cpu'): Tensor {
  const dtype = readableDtype(source, name);
  const { data, shape } = source.read(name);
  // libtorch accepts any other byte in a bool tensor, and then computes wrong results.
  if (dtype === 'bool' && data.some((value) => value > 1)) {
    throw invalid(source.path, `tensor ${quote(name)}: a BOOL byte is neither 0 nor 1; the file is damaged`);
  }
  const tensor = wrap(native.fromBuffer(data, shape, dtypeCode(dtype) as number));
  if (device === 'cpu') return tensor;
  const moved = tensor.to({ device });
  tensor.dispose();
  return moved;
}

function readableDtype(source: TensorSource, name: string): DType {
  const stored = source.info(name).dtype;
  const dtype = torchDtype(stored);
  if (dtype !== undefined) return dtype;
  const what = `${source.path}: tensor ${quote(name)} is stored as ${stored}`;
  throw new CraftError('DTYPE_UNSUPPORTED', `${what}, which tensors cannot hold; read() gives its bytes`);
}

/** Tensors above this size are copied in parts of this size, in bytes. */
const PART_BYTES = 2 ** 25;

/**
 * Copies a stored tensor into one that exists, converting dtype and device. Beyond the target it needs memory for 32 MiB only,
 * however large the tensor.
 *
 * @param target contiguous, of the stored shape
 * @throws CraftError as {@link getTensor}; `SIZE_MISMATCH` where the numbers of elements differ
 */
export function copyTensor(source: TensorSource, name: string, target: Tensor): void {
  const dtype = readableDtype(source, name);
  const { byteLength } = source.info(name);
  const size = DTYPES[dtype].bytes;
  if (byteLength !== target.numel * size) {
    const message = `${source.path}: tensor ${quote(name)} has ${byteLength / size} elements, its target ${target.numel}`;
    throw new CraftError('SIZE_MISMATCH', message);
  }
  if (dtype === 'bool' || byteLength <= PART_BYTES || !target.isContiguous) {
    const tensor = getTensor(source, name);
    scope(() => noGrad(() => void target.copy_(tensor.view(target.shape))));
    tensor.dispose();
    return;
  }
  const buffer = new Uint8Array(PART_BYTES);
  scope(() =>
    noGrad(() => {
      const flat = target.view([-1]);
      for (let begin = 0; begin < byteLength; begin += PART_BYTES) {
        const part = buffer.subarray(0, Math.min(PART_BYTES, byteLength - begin));
        source.readPart(name, begin, part);
        const values = wrap(native.fromBuffer(part, [part.byteLength / size], dtypeCode(dtype) as number));
        flat.narrow(0, begin / size, values.numel).copy_(values);
        values.dispose();
      }
    }),
  );
}

/**
 * Reads a whole checkpoint: a safetensors file, an index of shards, or a folder that holds either.
 *
 * @param device where the tensors go, default `cpu`
 * @throws CraftError as {@link openCheckpoint} and {@link getTensor}; tensors already read are freed then
 */
export function loadFile(path: string, device = 'cpu'): Map<string, Tensor> {
  using source = openCheckpoint(path);
  const tensors = new Map<string, Tensor>();
  try {
    for (const name of source.names) tensors.set(name, getTensor(source, name, device));
  } catch (error) {
    for (const tensor of tensors.values()) tensor.dispose();
    throw error;
  }
  return tensors;
}

/**
 * Writes tensors of any dtype, device and memory layout to one safetensors file, all or nothing.
 *
 * Tensors that share memory are stored once each. Readers such as transformers want `{ format: 'pt' }` among the metadata.
 *
 * @throws CraftError as {@link writeSafetensors}
 */
export function saveFile(
  path: string,
  tensors: Iterable<readonly [string, Tensor]>,
  metadata?: SafetensorsMetadata,
): void {
  const entries = [...tensors].map(([name, tensor]) => {
    const dtype = storedDtype(tensor, name, path);
    return { name, dtype, shape: tensor.shape, data: () => tensorBytes(tensor) };
  });
  writeSafetensors(path, entries, metadata);
}

function storedDtype(tensor: Tensor, name: string, path: string): SafetensorsDtype {
  const dtype = safetensorsDtype(tensor.dtype);
  if (dtype !== undefined) return dtype;
  const message = `${path}: tensor ${quote(name)}: safetensors has no dtype for ${tensor.dtype}`;
  throw new CraftError('SAFETENSORS_ENTRY_INVALID', message);
}

/** A copy of a tensor's elements as they are in memory, row-major. */
function tensorBytes(tensor: Tensor): Uint8Array {
  const local = tensor.device === 'cpu' ? tensor : tensor.to({ device: 'cpu' });
  try {
    const bytes = new Uint8Array(local.numel * DTYPES[local.dtype].bytes);
    native.copyOut(local.h, bytes);
    return bytes;
  } finally {
    if (local !== tensor) local.dispose();
  }
}
