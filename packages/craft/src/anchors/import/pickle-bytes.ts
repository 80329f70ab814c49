import { pickleInvalid } from './errors.js';

/** The bytes of a pickle, read from front to back; every read throws `PICKLE_INVALID` at their end. */
export class PickleBytes {
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

  /** A whole number in two's complement. */
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

  /** A text up to the end of its line. */
  line(): string {
    const end = this.bytes.indexOf(0x0a, this.#at);
    if (end < 0) throw pickleInvalid(this.source, 'it is cut off');
    const text = this.text(end - this.#at);
    this.#at++;
    return text;
  }

  /** Passes over some bytes. @returns where they begin */
  skip(length: number): number {
    const start = this.#at;
    if (start + length > this.bytes.length) throw pickleInvalid(this.source, 'it is cut off');
    this.#at = start + length;
    return start;
  }
}
