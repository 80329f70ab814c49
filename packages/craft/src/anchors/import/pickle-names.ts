import { pickleInvalid, pickleRefused } from './errors.js';
import {
  isKind,
  type PickledName,
  type PickledStorage,
  type PickledTensor,
  type PickleValue,
} from './pickle-values.js';

const STORAGES = ['Float', 'Half', 'BFloat16', 'Double', 'Long', 'Int', 'Short', 'Char', 'Byte', 'Bool'];
const REBUILD_TENSOR = 'torch._utils._rebuild_tensor_v2';
const ORDERED_DICT = 'collections.OrderedDict';
const ALLOWED = new Set([REBUILD_TENSOR, ORDERED_DICT, ...STORAGES.map((type) => `torch.${type}Storage`)]);

/** A class or function of a pickle; only those of the list above exist. @throws CraftError `PICKLE_REFUSED` */
export function allowedName(module: string, name: string, source: string): PickledName {
  const full = `${module}.${name}`;
  if (!ALLOWED.has(full)) throw pickleRefused(source, JSON.stringify(full.slice(0, 100)));
  return { kind: 'name', name: full };
}

/** What the two calls that torch.save writes stand for. @throws CraftError `PICKLE_REFUSED`, `PICKLE_INVALID` */
export function callOf(callee: PickleValue, args: PickleValue, source: string): PickleValue {
  const name = isKind(callee, 'name') ? callee.name : 'a value';
  if (!isKind(args, 'tuple')) throw pickleInvalid(source, `${name} is called with no tuple`);
  if (name === REBUILD_TENSOR) return tensorOf(args.items, source);
  if (name === ORDERED_DICT && args.items.length === 0) return new Map();
  throw pickleRefused(source, `a call of ${name}`);
}

/** The storage behind a persistent id. @throws CraftError `PICKLE_INVALID` */
export function storageOf(id: PickleValue, source: string): PickledStorage {
  const [tag, type, key, , elements] = isKind(id, 'tuple') ? id.items : [];
  if (
    tag !== 'storage' ||
    !isKind(type!, 'name') ||
    !type.name.endsWith('Storage') ||
    typeof key !== 'string' ||
    !isCount(elements)
  )
    throw pickleInvalid(source, 'a storage is not described as torch.save does');
  return { kind: 'storage', type: type.name, key, elements };
}

function tensorOf([storage, offset, size, stride]: readonly PickleValue[], source: string): PickledTensor {
  const counts = (value: PickleValue | undefined): number[] => {
    const items = value !== undefined && isKind(value, 'tuple') ? value.items : null;
    if (items === null || !items.every(isCount))
      throw pickleInvalid(source, 'the shape of a tensor is no tuple of counts');
    return items as number[];
  };
  if (storage === undefined || !isKind(storage, 'storage') || !isCount(offset))
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
  return { kind: 'tensor', storage, offset, shape, stride: strides };
}

function isCount(value: PickleValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
