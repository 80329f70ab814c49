/**
 * A reader of Python pickles that cannot run code: plain values, and names from a vocabulary given by the caller.
 */
import { CraftError } from '@craft-ft/torch/errors';

/** A class or function that a pickle names; it is never run. */
interface PickledName {
  readonly kind: 'name';
  readonly name: string;
}

interface PickledTuple {
  readonly kind: 'tuple';
  readonly items: readonly PickleValue[];
}

/** What a call or a persistent id of the pickle stands for, as its {@link PickleVocabulary} says. */
export interface PickledObject {
  readonly kind: 'object';
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
  | PickledName
  | PickledObject;

/** Whether a value is a tuple, name or object. */
export function isKind<K extends 'tuple' | 'name' | 'object'>(
  value: PickleValue | undefined,
  kind: K,
): value is Extract<PickleValue, { kind: K }> {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === kind;
}

/** What a kind of pickle may name, and what that stands for. Nothing else exists for the reader. */
export interface PickleVocabulary {
  /** Classes and functions, `module.name`. */
  readonly names: ReadonlySet<string>;
  /** The value of a call of one of them; undefined where it is refused. @throws CraftError `PICKLE_INVALID` */
  call(name: string, args: readonly PickleValue[], source: string): PickleValue | undefined;
  /** The value of a persistent id. @throws CraftError `PICKLE_INVALID` */
  persistent?(id: PickleValue, source: string): PickleValue;
}

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
 * Reads a pickle and executes nothing: names are looked up in the vocabulary, never in code; anything else is refused by name.
 *
 * Reads protocol 2 and what protocols 4 and 5 write in its place.
 *
 * @param source names the file in messages
 * @throws CraftError `PICKLE_REFUSED` naming the opcode or class; `PICKLE_INVALID` for one that is truncated or malformed
 */
export function readPickle(bytes: Uint8Array, source: string, vocabulary: PickleVocabulary): PickleValue {
  return new Unpickler(bytes, source, vocabulary).run();
}

class Unpickler {
  readonly #bytes: PickleBytes;
  readonly #stack: Slot[] = [];
  readonly #memo = new Map<number, PickleValue>();

  constructor(
    bytes: Uint8Array,
    private readonly source: string,
    private readonly vocabulary: PickleVocabulary,
  ) {
    this.#bytes = new PickleBytes(bytes, source);
  }

  run(): PickleValue {
    for (;;) {
      const opcode = this.#bytes.u8();
      if (opcode === 0x2e) {
        const value = this.#pop();
        if (this.#stack.length > 0) throw this.#invalid('values are left over at its end');
        return value;
      }
      this.#step(opcode);
    }
  }

  #step(opcode: number): void {
    const push = (value: PickleValue) => {
      this.#stack.push(value);
    };
    switch (opcode) {
      case 0x80: // PROTO
        if (this.#bytes.u8() > 5) throw this.#invalid('its protocol is unknown');
        break;
      case 0x95: // FRAME
        this.#bytes.skip(8);
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
        push(this.#bytes.i32());
        break;
      case 0x4b: // BININT1
        push(this.#bytes.u8());
        break;
      case 0x4d: // BININT2
        push(this.#bytes.u16());
        break;
      case 0x8a: // LONG1
        push(this.#bytes.long(this.#bytes.u8()));
        break;
      case 0x47: // BINFLOAT
        push(this.#bytes.f64());
        break;
      case 0x58: // BINUNICODE
        push(this.#bytes.text(this.#bytes.u32()));
        break;
      case 0x8c: // SHORT_BINUNICODE
        push(this.#bytes.text(this.#bytes.u8()));
        break;
      case 0x8d: // BINUNICODE8
        push(this.#bytes.text(this.#bytes.u64()));
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
        this.#memo.set(this.#bytes.u8(), this.#top());
        break;
      case 0x72: // LONG_BINPUT
        this.#memo.set(this.#bytes.u32(), this.#top());
        break;
      case 0x94: // MEMOIZE
        this.#memo.set(this.#memo.size, this.#top());
        break;
      case 0x68: // BINGET
        this.#stack.push(this.#remembered(this.#bytes.u8()));
        break;
      case 0x6a: // LONG_BINGET
        this.#stack.push(this.#remembered(this.#bytes.u32()));
        break;
      case 0x63: // GLOBAL
        this.#stack.push(this.#named(this.#bytes.line(), this.#bytes.line()));
        break;
      case 0x93: {
        // STACK_GLOBAL
        const [name, module] = [this.#pop(), this.#pop()];
        this.#stack.push(this.#named(String(module), String(name)));
        break;
      }
      case 0x51: // BINPERSID
        this.#stack.push(this.#persistent(this.#pop()));
        break;
      case 0x52: {
        // REDUCE
        const args = this.#pop();
        this.#stack.push(this.#call(this.#pop(), args));
        break;
      }
      default: {
        const name = REFUSED[opcode] ?? `0x${opcode.toString(16).padStart(2, '0')}`;
        throw pickleRefused(this.source, `opcode ${name}`);
      }
    }
  }

  #named(module: string, name: string): PickledName {
    const full = `${module}.${name}`;
    if (!this.vocabulary.names.has(full))
      throw pickleRefused(this.source, JSON.stringify(full.slice(0, 100)));
    return { kind: 'name', name: full };
  }

  #call(callee: PickleValue, args: PickleValue): PickleValue {
    const name = isKind(callee, 'name') ? callee.name : 'a value';
    if (!isKind(args, 'tuple')) throw this.#invalid(`${name} is called with no tuple`);
    const value = this.vocabulary.call(name, args.items, this.source);
    if (value === undefined) throw pickleRefused(this.source, `a call of ${name}`);
    return value;
  }

  #persistent(id: PickleValue): PickleValue {
    const { persistent } = this.vocabulary;
    if (persistent === undefined) throw pickleRefused(this.source, 'opcode BINPERSID');
    return persistent(id, this.source);
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

  #invalid(what: string): CraftError {
    return pickleInvalid(this.source, what);
  }
}

/** The bytes of a pickle, read from front to back; every read throws `PICKLE_INVALID` at their end. */
class PickleBytes {
  readonly #view: DataView;
  #at = 0;

  /** @param source names the file in messages */
  constructor(
    private readonly bytes: Uint8Array,
    private readonly source: string,
  ) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(): number {
    return this.#view.getUint8(this.skip(1));
  }

  u16(): number {
    return this.#view.getUint16(this.skip(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.skip(4), true);
  }

  u64(): number {
    return Number(this.#view.getBigUint64(this.skip(8), true));
  }

  i32(): number {
    return this.#view.getInt32(this.skip(4), true);
  }

  /** Big-endian, unlike all others. */
  f64(): number {
    return this.#view.getFloat64(this.skip(8));
  }

  /** A two's complement integer. */
  long(length: number): number {
    const start = this.skip(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.bytes[start + i]!);
    const signed = length === 0 ? 0n : BigInt.asIntN(8 * length, value);
    const number = Number(signed);
    if (!Number.isSafeInteger(number)) throw pickleInvalid(this.source, 'a whole number is beyond 2^53');
    return number;
  }

  text(length: number): string {
    const start = this.skip(length);
    return new TextDecoder().decode(this.bytes.subarray(start, start + length));
  }

  /** Text up to the end of the line. */
  line(): string {
    const end = this.bytes.indexOf(0x0a, this.#at);
    if (end < 0) throw pickleInvalid(this.source, 'it is cut off');
    const text = this.text(end - this.#at);
    this.#at++;
    return text;
  }

  /** Skips some bytes. @returns where they begin */
  skip(length: number): number {
    const start = this.#at;
    if (start + length > this.bytes.length) throw pickleInvalid(this.source, 'it is cut off');
    this.#at = start + length;
    return start;
  }
}

/** `PICKLE_INVALID`: the pickle is truncated or malformed. */
export function pickleInvalid(source: string, what: string): CraftError {
  return new CraftError('PICKLE_INVALID', `${source}: ${what}; the file is damaged`);
}

/** `PICKLE_REFUSED`: the pickle asks for something that a file of tensors never needs. */
function pickleRefused(source: string, what: string): CraftError {
  const remedy = 'only plain values are read; do not load this file anywhere unless you trust its author';
  return new CraftError('PICKLE_REFUSED', `${source}: the pickle has ${what}, which is refused: ${remedy}`);
}
