import { closeSync, readSync } from 'node:fs';
import { type DType, fromTypedArray, type Tensor } from '@craft-ft/torch';
import { CraftError } from '@craft-ft/torch/errors';
import {
  isKind,
  type PickledObject,
  type PickleValue,
  type PickleVocabulary,
  pickleInvalid,
  readPickle,
} from './pickle.js';
import { openForReading, StoredZip, torchFileInvalid, LOCAL as ZIP_START } from './zip.js';

const DTYPES: Readonly<Record<string, DType>> = {
  'torch.FloatStorage': 'float32',
  'torch.HalfStorage': 'float16',
  'torch.BFloat16Storage': 'bfloat16',
  'torch.DoubleStorage': 'float64',
  'torch.LongStorage': 'int64',
  'torch.IntStorage': 'int32',
  'torch.ShortStorage': 'int16',
  'torch.CharStorage': 'int8',
  'torch.ByteStorage': 'uint8',
  'torch.BoolStorage': 'bool',
};

const SIZES: Readonly<Record<string, number>> = {
  float64: 8,
  int64: 8,
  float32: 4,
  int32: 4,
  float16: 2,
  bfloat16: 2,
  int16: 2,
};

/** The pickle only describes tensors, so it is small; their data lie outside it. */
const MAX_PICKLE = 2 ** 24;

/**
 * A file that torch.save wrote (the zip format, PyTorch 1.6 and later), read without executing anything.
 *
 * @example
 * ```ts
 * using file = TorchFile.open('shard_0000.pt');
 * const shard = file.value; // Map of names to values
 * ```
 */
export class TorchFile implements Disposable {
  private constructor(
    readonly path: string,
    /** What was saved; tensors are descriptions, see {@link tensor}. */
    readonly value: PickleValue,
    private readonly zip: StoredZip,
    private readonly root: string,
  ) {}

  /**
   * @throws CraftError `TORCH_FILE_LEGACY` for the format before 1.6; `TORCH_FILE_INVALID`, `PICKLE_REFUSED`, `PICKLE_INVALID`,
   * `FILE_NOT_FOUND`
   */
  static open(path: string): TorchFile {
    refuseLegacy(path);
    const zip = StoredZip.open(path);
    try {
      const pickles = zip.names.filter((name) => name === 'data.pkl' || name.endsWith('/data.pkl'));
      if (pickles.length !== 1) throw torchFileInvalid(path, `it has ${pickles.length} data.pkl, not one`);
      const name = pickles[0]!;
      const root = name.slice(0, -'data.pkl'.length);
      if (zip.sizeOf(name)! > MAX_PICKLE)
        throw torchFileInvalid(path, `its data.pkl has ${zip.sizeOf(name)} bytes`);
      if (zip.sizeOf(`${root}byteorder`) !== undefined) {
        const order = Buffer.from(zip.read(`${root}byteorder`)).toString();
        if (order !== 'little')
          throw torchFileInvalid(path, `its byte order is ${order.slice(0, 20)}, not little`);
      }
      return new TorchFile(path, readPickle(zip.read(name), path, TORCH), zip, root);
    } catch (error) {
      zip[Symbol.dispose]();
      throw error;
    }
  }

  /** Reads a tensor: contiguous, on the CPU, in the current scope. @throws CraftError `TORCH_FILE_INVALID` */
  tensor(described: PickledTensor): Tensor {
    const { storage, offset, shape, stride } = described;
    const dtype = DTYPES[storage.type]!;
    const entry = `${this.root}data/${storage.key}`;
    const bytes = this.zip.sizeOf(entry);
    const wanted = storage.elements * (SIZES[dtype] ?? 1);
    if (bytes !== wanted) {
      const has = bytes === undefined ? 'is missing' : `has ${bytes} bytes`;
      throw torchFileInvalid(
        this.path,
        `storage ${storage.key} ${has}, ${storage.elements} of ${dtype} need ${wanted}`,
      );
    }
    const data = this.zip.read(entry);
    if (dtype === 'bool' && data.some((value) => value > 1))
      throw torchFileInvalid(this.path, `storage ${storage.key} has a bool that is neither 0 nor 1`);
    const size = SIZES[dtype] ?? 1;
    const count = shape.reduce((product, n) => product * n, 1);
    const own = new Uint8Array(count * size);
    if (isContiguous(shape, stride)) own.set(data.subarray(offset * size, (offset + count) * size));
    else copyStrided(data, own, described, size);
    return fromTypedArray(elements(own, size), shape, dtype);
  }

  [Symbol.dispose](): void {
    this.zip[Symbol.dispose]();
  }
}

function isContiguous(shape: readonly number[], stride: readonly number[]): boolean {
  let expected = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && stride[i] !== expected) return false;
    expected *= shape[i]!;
  }
  return true;
}

function copyStrided(from: Uint8Array, to: Uint8Array, view: PickledTensor, size: number): void {
  const { shape, stride, offset } = view;
  const position = shape.map(() => 0);
  for (let at = 0; at < to.length; at += size) {
    const source = (offset + position.reduce((sum, n, i) => sum + n * stride[i]!, 0)) * size;
    to.set(from.subarray(source, source + size), at);
    for (let i = shape.length - 1; i >= 0; i--) {
      position[i]!++;
      if (position[i]! < shape[i]!) break;
      position[i] = 0;
    }
  }
}

// Reinterpreted as elements of the same size: libtorch accepts the bytes for any dtype of that size.
function elements(
  bytes: Uint8Array<ArrayBuffer>,
  size: number,
): Uint8Array | Int16Array | Float32Array | Float64Array {
  if (size === 8) return new Float64Array(bytes.buffer);
  if (size === 4) return new Float32Array(bytes.buffer);
  return size === 2 ? new Int16Array(bytes.buffer) : bytes;
}

// The old format is a sequence of pickles, or a tar file.
function refuseLegacy(path: string): void {
  const start = Buffer.alloc(4);
  const fd = openForReading(path);
  try {
    readSync(fd, start, 0, 4, 0);
  } finally {
    closeSync(fd);
  }
  if (start.readUInt32LE(0) === ZIP_START) return;
  if (start[0] !== 0x80) throw torchFileInvalid(path, 'it is no zip file');
  const remedy =
    'where it was made, save it again with PyTorch 1.6 or later: torch.save(torch.load(path, weights_only=True), path)';
  throw new CraftError('TORCH_FILE_LEGACY', `${path}: in the format before PyTorch 1.6; ${remedy}`);
}

/** A storage as torch.save names it. */
class PickledStorage implements PickledObject {
  readonly kind = 'object';
  constructor(
    /** `torch.FloatStorage`, … */
    readonly type: string,
    readonly key: string,
    readonly elements: number,
  ) {}
}

/** A tensor as torch.save describes it: a view of a storage that lies elsewhere in the file. */
export class PickledTensor implements PickledObject {
  readonly kind = 'object';
  constructor(
    readonly storage: PickledStorage,
    /** In elements, as the strides. */
    readonly offset: number,
    readonly shape: readonly number[],
    readonly stride: readonly number[],
  ) {}
}

const STORAGES = ['Float', 'Half', 'BFloat16', 'Double', 'Long', 'Int', 'Short', 'Char', 'Byte', 'Bool'];
const REBUILD_TENSOR = 'torch._utils._rebuild_tensor_v2';
const ORDERED_DICT = 'collections.OrderedDict';

/** What torch.save writes. */
export const TORCH: PickleVocabulary = {
  names: new Set([REBUILD_TENSOR, ORDERED_DICT, ...STORAGES.map((type) => `torch.${type}Storage`)]),
  call: (name, args, source) => {
    if (name === REBUILD_TENSOR) return tensorOf(args, source);
    return name === ORDERED_DICT && args.length === 0 ? new Map() : undefined;
  },
  persistent: storageOf,
};

/** The storage behind a persistent id. @throws CraftError `PICKLE_INVALID` */
function storageOf(id: PickleValue, source: string): PickledStorage {
  const [tag, type, key, , elements] = isKind(id, 'tuple') ? id.items : [];
  if (
    tag !== 'storage' ||
    !isKind(type, 'name') ||
    !type.name.endsWith('Storage') ||
    typeof key !== 'string' ||
    !isCount(elements)
  )
    throw pickleInvalid(source, 'a storage is not described as torch.save does');
  return new PickledStorage(type.name, key, elements);
}

function tensorOf([storage, offset, size, stride]: readonly PickleValue[], source: string): PickledTensor {
  const counts = (value: PickleValue | undefined): number[] => {
    const items = isKind(value, 'tuple') ? value.items : null;
    if (items === null || !items.every(isCount))
      throw pickleInvalid(source, 'the shape of a tensor is no tuple of counts');
    return items as number[];
  };
  if (!(storage instanceof PickledStorage) || !isCount(offset))
    throw pickleInvalid(source, 'a tensor has no storage');
  const [shape, strides] = [counts(size), counts(stride)];
  if (shape.length !== strides.length)
    throw pickleInvalid(source, 'a tensor has as many strides as dimensions');
  const last = shape.reduce((sum, n, i) => sum + (n - 1) * strides[i]!, offset);
  const elements = shape.reduce((product, n) => product * n, 1);
  // Strides of 0 could make a small storage look like any amount of memory.
  if (elements > 0 && (last >= storage.elements || elements > storage.elements))
    throw pickleInvalid(
      source,
      `a tensor [${shape}] reaches beyond its storage of ${storage.elements} elements`,
    );
  return new PickledTensor(storage, offset, shape, strides);
}

function isCount(value: PickleValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
