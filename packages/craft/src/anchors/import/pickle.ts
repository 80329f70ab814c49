import { CraftError } from '@craft-ft/torch/errors';

/** A tensor as a pickle describes it: a view of a storage that lies elsewhere. */
export interface PickledTensor {
  readonly kind: 'tensor';
  readonly storage: PickledStorage;
  /** In elements. */
  readonly offset: number;
  readonly shape: readonly number[];
  readonly stride: readonly number[];
}

/** A storage as a pickle names it. */
export interface PickledStorage {
  readonly kind: 'storage';
  /** `torch.FloatStorage`, … */
  readonly type: string;
  readonly key: string;
  readonly elements: number;
}

/** A class or function that a pickle names. Only those of the list below exist, and none of them is ever run. */
interface Named {
  readonly kind: 'name';
  readonly name: string;
}

interface PickledTuple {
  readonly kind: 'tuple';
  readonly items: readonly PickleValue[];
}

/** What a pickle may hold. dict and OrderedDict are a Map, lists arrays. */
export type PickleValue =
  | null
  | boolean
  | number
  | string
  | PickleValue[]
  | Map<string | number, PickleValue>
  | PickledTuple
  | PickledTensor
  | PickledStorage
  | Named;

const STORAGES = ['Float', 'Half', 'BFloat16', 'Double', 'Long', 'Int', 'Short', 'Char', 'Byte', 'Bool'];
const REBUILD_TENSOR = 'torch._utils._rebuild_tensor_v2';
const ORDERED_DICT = 'collections.OrderedDict';
const ALLOWED = new Set([REBUILD_TENSOR, ORDERED_DICT, ...STORAGES.map((type) => `torch.${type}Storage`)]);

/** Names of the opcodes that are refused, for the message. */
const REFUSED: Readonly<Record<number, string>> = {
  73: 'INT',
  76: 'LONG',
  70: 'FLOAT',
  83: 'STRING',
  86: 'UNICODE',
  80: 'PERSID',
  98: 'BUILD',
  105: 'INST',
  111: 'OBJ',
  129: 'NEWOBJ',
  130: 'EXT1',
  131: 'EXT2',
  132: 'EXT4',
  146: 'NEWOBJ_EX',
  143: 'EMPTY_SET',
  144: 'ADDITEMS',
  145: 'FROZENSET',
  150: 'BYTEARRAY8',
  151: 'NEXT_BUFFER',
  152: 'READONLY_BUFFER',
};

const MARK = Symbol('mark');
type Slot = PickleValue | typeof MARK;

/**
 * Reads the pickle of a file that torch.save wrote. It executes nothing: there is no way from a name in the pickle to code, the only
 * names that exist are PyTorch's storages, `_rebuild_tensor_v2` and OrderedDict, and anything else is refused by its name.
 *
 * @param source names the file in messages
 * @throws CraftError `PICKLE_REFUSED` naming the opcode or class; `PICKLE_INVALID` for one that is cut off or makes no sense
 */
export function readPickle(bytes: Uint8Array, source: string): PickleValue {
  return new Unpickler(bytes, source).run();
}

class Unpickler {
  readonly #view: DataView;
  readonly #stack: Slot[] = [];
  readonly #memo = new Map<number, PickleValue>();
  #at = 0;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly source: string,
  ) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  run(): PickleValue {
    for (;;) {
      const opcode = this.#u8();
      if (opcode === 0x2e) {
        const value = this.#pop();
        if (this.#stack.length > 0) throw this.#invalid('values are left over at its end');
        return value;
      }
      this.#step(opcode);
    }
  }

  // Protocol 2, which torch.save writes, and what protocols 4 and 5 write in its place.
  #step(opcode: number): void {
    const push = (value: PickleValue) => {
      this.#stack.push(value);
    };
    switch (opcode) {
      case 0x80: // PROTO
        if (this.#u8() > 5) throw this.#invalid('its protocol is unknown');
        break;
      case 0x95: // FRAME
        this.#take(8);
        break;
      case 0x28: // MARK
        this.#stack.push(MARK);
        break;
      case 0x30: // POP
        this.#stack.pop();
        break;
      case 0x4e: // NONE
        push(null);
        break;
      case 0x88: // NEWTRUE
        push(true);
        break;
      case 0x89: // NEWFALSE
        push(false);
        break;
      case 0x4a: // BININT
        push(this.#view.getInt32(this.#take(4), true));
        break;
      case 0x4b: // BININT1
        push(this.#u8());
        break;
      case 0x4d: // BININT2
        push(this.#view.getUint16(this.#take(2), true));
        break;
      case 0x8a: // LONG1
        push(this.#long(this.#u8()));
        break;
      case 0x47: // BINFLOAT
        push(this.#view.getFloat64(this.#take(8)));
        break;
      case 0x58: // BINUNICODE
        push(this.#text(this.#u32()));
        break;
      case 0x8c: // SHORT_BINUNICODE
        push(this.#text(this.#u8()));
        break;
      case 0x8d: // BINUNICODE8
        push(this.#text(this.#u64()));
        break;
      case 0x5d: // EMPTY_LIST
        push([]);
        break;
      case 0x7d: // EMPTY_DICT
        push(new Map());
        break;
      case 0x29: // EMPTY_TUPLE
        push({ kind: 'tuple', items: [] });
        break;
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        push(this.#tuple(opcode - 0x84));
        break;
      case 0x74: // TUPLE
        push({ kind: 'tuple', items: this.#toMark() });
        break;
      case 0x6c: // LIST
        push(this.#toMark());
        break;
      case 0x61: // APPEND
        this.#append([this.#pop()]);
        break;
      case 0x65: // APPENDS
        this.#append(this.#toMark());
        break;
      case 0x73: // SETITEM
        this.#setItems([this.#pop(), this.#pop()].reverse());
        break;
      case 0x75: // SETITEMS
        this.#setItems(this.#toMark());
        break;
      default:
        this.#name(opcode);
        break;
    }
  }

  // Memo, names, and the one call that is understood.
  #name(opcode: number): void {
    switch (opcode) {
      case 0x71: // BINPUT
        this.#memo.set(this.#u8(), this.#top());
        break;
      case 0x72: // LONG_BINPUT
        this.#memo.set(this.#u32(), this.#top());
        break;
      case 0x94: // MEMOIZE
        this.#memo.set(this.#memo.size, this.#top());
        break;
      case 0x68: // BINGET
        this.#stack.push(this.#remembered(this.#u8()));
        break;
      case 0x6a: // LONG_BINGET
        this.#stack.push(this.#remembered(this.#u32()));
        break;
      case 0x63: // GLOBAL
        this.#stack.push(this.#allowed(this.#line(), this.#line()));
        break;
      case 0x93: {
        // STACK_GLOBAL
        const [name, module] = [this.#pop(), this.#pop()];
        this.#stack.push(this.#allowed(String(module), String(name)));
        break;
      }
      case 0x51: // BINPERSID
        this.#stack.push(this.#storage(this.#pop()));
        break;
      case 0x52: {
        // REDUCE
        const args = this.#pop();
        this.#stack.push(this.#call(this.#pop(), args));
        break;
      }
      default: {
        const name = REFUSED[opcode] ?? `0x${opcode.toString(16).padStart(2, '0')}`;
        throw this.#refuse(`opcode ${name}`);
      }
    }
  }

  #allowed(module: string, name: string): Named {
    const full = `${module}.${name}`;
    if (!ALLOWED.has(full)) throw this.#refuse(JSON.stringify(full.slice(0, 100)));
    return { kind: 'name', name: full };
  }

  #call(callee: PickleValue, args: PickleValue): PickleValue {
    const name = isKind(callee, 'name') ? callee.name : 'a value';
    if (!isKind(args, 'tuple')) throw this.#invalid(`${name} is called with no tuple`);
    if (name === REBUILD_TENSOR) return this.#tensor(args.items);
    if (name === ORDERED_DICT && args.items.length === 0) return new Map();
    throw this.#refuse(`a call of ${name}`);
  }

  #storage(id: PickleValue): PickledStorage {
    const [tag, type, key, , elements] = isKind(id, 'tuple') ? id.items : [];
    if (
      tag !== 'storage' ||
      !isKind(type!, 'name') ||
      !type.name.endsWith('Storage') ||
      typeof key !== 'string' ||
      !isCount(elements)
    )
      throw this.#invalid('a storage is not described as torch.save does');
    return { kind: 'storage', type: type.name, key, elements };
  }

  #tensor([storage, offset, size, stride]: readonly PickleValue[]): PickledTensor {
    const counts = (value: PickleValue | undefined): number[] => {
      const items = value !== undefined && isKind(value, 'tuple') ? value.items : null;
      if (items === null || !items.every(isCount))
        throw this.#invalid('the shape of a tensor is no tuple of counts');
      return items as number[];
    };
    if (storage === undefined || !isKind(storage, 'storage') || !isCount(offset))
      throw this.#invalid('a tensor has no storage');
    const [shape, strides] = [counts(size), counts(stride)];
    if (shape.length !== strides.length) throw this.#invalid('a tensor has as many strides as dimensions');
    const last = shape.reduce((sum, n, i) => sum + (n - 1) * strides[i]!, offset);
    const elements = shape.reduce((product, n) => product * n, 1);
    // Strides of 0 could make a small storage look like any amount of memory.
    if (elements > 0 && (last >= storage.elements || elements > storage.elements))
      throw this.#invalid(`a tensor [${shape}] reaches beyond its storage of ${storage.elements} elements`);
    return { kind: 'tensor', storage, offset, shape, stride: strides };
  }

  #append(items: PickleValue[]): void {
    const list = this.#top();
    if (!Array.isArray(list)) throw this.#invalid('it appends to what is no list');
    for (const item of items) list.push(item);
  }

  #setItems(items: PickleValue[]): void {
    const dict = this.#top();
    if (!(dict instanceof Map)) throw this.#invalid('it sets items of what is no dict');
    if (items.length % 2 !== 0) throw this.#invalid('a dict has a key without a value');
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i]!;
      if (typeof key !== 'string' && typeof key !== 'number')
        throw this.#invalid('a dict has a key that is neither text nor number');
      dict.set(key, items[i + 1]!);
    }
  }

  #tuple(count: number): PickledTuple {
    const items = Array.from({ length: count }, () => this.#pop());
    return { kind: 'tuple', items: items.reverse() };
  }

  #toMark(): PickleValue[] {
    const mark = this.#stack.lastIndexOf(MARK);
    if (mark < 0) throw this.#invalid('a mark is missing');
    return this.#stack.splice(mark).slice(1) as PickleValue[];
  }

  #pop(): PickleValue {
    const value = this.#stack.pop();
    if (value === undefined || value === MARK) throw this.#invalid('a value is missing');
    return value;
  }

  #top(): PickleValue {
    const value = this.#stack.at(-1);
    if (value === undefined || value === MARK) throw this.#invalid('a value is missing');
    return value;
  }

  #remembered(key: number): PickleValue {
    const value = this.#memo.get(key);
    if (value === undefined) throw this.#invalid(`it looks up ${key}, which was never stored`);
    return value;
  }

  #long(length: number): number {
    const start = this.#take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.bytes[start + i]!);
    const signed = length === 0 ? 0n : BigInt.asIntN(8 * length, value);
    const number = Number(signed);
    if (!Number.isSafeInteger(number)) throw this.#invalid('a whole number is beyond 2^53');
    return number;
  }

  #line(): string {
    const end = this.bytes.indexOf(0x0a, this.#at);
    if (end < 0) throw this.#invalid('it is cut off');
    const text = this.#text(end - this.#at);
    this.#at++;
    return text;
  }

  #text(length: number): string {
    const start = this.#take(length);
    return new TextDecoder().decode(this.bytes.subarray(start, start + length));
  }

  #u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  #u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  #u64(): number {
    return Number(this.#view.getBigUint64(this.#take(8), true));
  }

  #take(length: number): number {
    const start = this.#at;
    if (start + length > this.bytes.length) throw this.#invalid('it is cut off');
    this.#at = start + length;
    return start;
  }

  #invalid(what: string): CraftError {
    return new CraftError('PICKLE_INVALID', `${this.source}: ${what}; the file is damaged`);
  }

  #refuse(what: string): CraftError {
    const remedy =
      'a cache holds tensors, numbers and texts only; do not load this file anywhere unless you trust its author';
    return new CraftError(
      'PICKLE_REFUSED',
      `${this.source}: the pickle has ${what}, which is refused: ${remedy}`,
    );
  }
}

/** Whether a value is one of the objects above. */
export function isKind<K extends 'tuple' | 'tensor' | 'storage' | 'name'>(
  value: PickleValue,
  kind: K,
): value is Extract<PickleValue, { kind: K }> {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === kind;
}

function isCount(value: PickleValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
