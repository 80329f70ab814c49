import type { CraftError } from '@craft-ft/torch/errors';
import { pickleInvalid, pickleRefused } from './errors.js';
import { PickleBytes } from './pickle-bytes.js';
import { allowedName, callOf, storageOf } from './pickle-names.js';
import type { PickledTuple, PickleValue } from './pickle-values.js';

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
  readonly #bytes: PickleBytes;
  readonly #stack: Slot[] = [];
  readonly #memo = new Map<number, PickleValue>();

  constructor(
    bytes: Uint8Array,
    private readonly source: string,
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

  // Protocol 2, which torch.save writes, and what protocols 4 and 5 write in its place.
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
        this.#stack.push(allowedName(this.#bytes.line(), this.#bytes.line(), this.source));
        break;
      case 0x93: {
        // STACK_GLOBAL
        const [name, module] = [this.#pop(), this.#pop()];
        this.#stack.push(allowedName(String(module), String(name), this.source));
        break;
      }
      case 0x51: // BINPERSID
        this.#stack.push(storageOf(this.#pop(), this.source));
        break;
      case 0x52: {
        // REDUCE
        const args = this.#pop();
        this.#stack.push(callOf(this.#pop(), args, this.source));
        break;
      }
      default: {
        const name = REFUSED[opcode] ?? `0x${opcode.toString(16).padStart(2, '0')}`;
        throw pickleRefused(this.source, `opcode ${name}`);
      }
    }
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
