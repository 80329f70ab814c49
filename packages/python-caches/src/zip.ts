import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { CraftError } from '@craft-ft/torch/errors';

const END = 0x06054b50;
const END_BYTES = 22;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const ENTRY = 0x02014b50;
const ENTRY_BYTES = 46;
/** Signature of an entry, and thus of the file. */
export const LOCAL = 0x04034b50;
const LOCAL_BYTES = 30;
/** Value of a 32-bit field whose real value is in the extra field. */
const BIG = 0xffffffff;
/** No cache has a directory larger than this. */
const MAX_DIRECTORY = 2 ** 26;

interface Entry {
  readonly offset: number;
  readonly size: number;
  readonly crc: number;
}

/**
 * The entries of a zip file that are stored without compression, as PyTorch writes them. Reads the directory and what is asked for;
 * every offset and size is checked against the file before it is used.
 */
export class StoredZip implements Disposable {
  readonly #entries = new Map<string, Entry>();

  private constructor(
    readonly path: string,
    private readonly fd: number,
    private readonly size: number,
  ) {}

  /** @throws CraftError `TORCH_FILE_INVALID`, `FILE_NOT_FOUND` */
  static open(path: string): StoredZip {
    const fd = openForReading(path);
    try {
      const zip = new StoredZip(path, fd, fstatSync(fd).size);
      zip.#readDirectory();
      return zip;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  get names(): string[] {
    return [...this.#entries.keys()];
  }

  /** Size of an entry in bytes; undefined where there is none. */
  sizeOf(name: string): number | undefined {
    return this.#entries.get(name)?.size;
  }

  /** The whole content of an entry, compared with its checksum. @throws CraftError `TORCH_FILE_INVALID` */
  read(name: string): Uint8Array {
    const entry = this.#entries.get(name);
    if (entry === undefined) throw this.#invalid(`it has no "${name}"`);
    const header = this.#bytes(entry.offset, LOCAL_BYTES, `the header of "${name}"`);
    if (header.readUInt32LE(0) !== LOCAL) throw this.#invalid(`"${name}" is not where the directory says`);
    const start = entry.offset + LOCAL_BYTES + header.readUInt16LE(26) + header.readUInt16LE(28);
    const content = this.#bytes(start, entry.size, `"${name}"`);
    if (crc32(content) !== entry.crc) throw this.#invalid(`"${name}" does not have its checksum`);
    return new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
  }

  #readDirectory(): void {
    const tail = Math.min(this.size, END_BYTES + 0xffff);
    const bytes = this.#bytes(this.size - tail, tail, 'the end');
    let at = bytes.length - END_BYTES;
    while (at >= 0 && bytes.readUInt32LE(at) !== END) at--;
    if (at < 0) throw this.#invalid('its end is missing; was it cut off?');
    let count = bytes.readUInt16LE(at + 10);
    let size = bytes.readUInt32LE(at + 12);
    let offset = bytes.readUInt32LE(at + 16);
    if (count === 0xffff || size === BIG || offset === BIG)
      ({ count, size, offset } = this.#end64(bytes, at));
    if (size > MAX_DIRECTORY) throw this.#invalid(`its directory claims ${size} bytes`);
    this.#parseDirectory(this.#bytes(offset, size, 'the directory'), count);
  }

  #end64(bytes: Buffer, end: number): { count: number; size: number; offset: number } {
    if (end < 20 || bytes.readUInt32LE(end - 20) !== LOCATOR64)
      throw this.#invalid('its 64-bit end is missing');
    const record = this.#bytes(this.#whole(bytes.readBigUInt64LE(end - 12)), 56, 'the 64-bit end');
    if (record.readUInt32LE(0) !== END64) throw this.#invalid('its 64-bit end is damaged');
    const field = (at: number) => this.#whole(record.readBigUInt64LE(at));
    return { count: field(32), size: field(40), offset: field(48) };
  }

  #parseDirectory(bytes: Buffer, count: number): void {
    let at = 0;
    for (let i = 0; i < count; i++) {
      if (at + ENTRY_BYTES > bytes.length || bytes.readUInt32LE(at) !== ENTRY)
        throw this.#invalid('its directory is damaged');
      const [flags, method] = [bytes.readUInt16LE(at + 8), bytes.readUInt16LE(at + 10)];
      const lengths = [28, 30, 32].map((field) => bytes.readUInt16LE(at + field)) as [number, number, number];
      const next = at + ENTRY_BYTES + lengths[0] + lengths[1] + lengths[2];
      if (next > bytes.length) throw this.#invalid('its directory is damaged');
      const nameEnd = at + ENTRY_BYTES + lengths[0];
      const name = bytes.toString('utf8', at + ENTRY_BYTES, nameEnd);
      if ((flags & 1) !== 0) throw this.#invalid(`"${name}" is encrypted`);
      if (method !== 0) throw this.#invalid(`"${name}" is compressed, which PyTorch never does`);
      if (this.#entries.has(name)) throw this.#invalid(`"${name}" occurs twice`);
      const extra = bytes.subarray(nameEnd, nameEnd + lengths[1]);
      this.#entries.set(name, this.#entry(bytes, at, extra, name));
      at = next;
    }
  }

  #entry(bytes: Buffer, at: number, extra: Buffer, name: string): Entry {
    const crc = bytes.readUInt32LE(at + 16);
    let compressed = bytes.readUInt32LE(at + 20);
    let size = bytes.readUInt32LE(at + 24);
    let offset = bytes.readUInt32LE(at + 42);
    // The 64-bit values stand in this order, only those that are needed.
    const wide = this.#extra64(extra);
    let field = 0;
    const next = (): number => {
      if (field + 8 > wide.length) throw this.#invalid(`"${name}" lacks its 64-bit size`);
      field += 8;
      return this.#whole(wide.readBigUInt64LE(field - 8));
    };
    if (size === BIG) size = next();
    if (compressed === BIG) compressed = next();
    if (offset === BIG) offset = next();
    if (size !== compressed || offset + LOCAL_BYTES + size > this.size)
      throw this.#invalid(`"${name}" claims ${size} bytes, beyond the end of the file`);
    return { offset, size, crc };
  }

  #extra64(extra: Buffer): Buffer {
    for (let at = 0; at + 4 <= extra.length; ) {
      const length = extra.readUInt16LE(at + 2);
      if (extra.readUInt16LE(at) === 1) return extra.subarray(at + 4, at + 4 + length);
      at += 4 + length;
    }
    return Buffer.alloc(0);
  }

  #whole(value: bigint): number {
    if (value > BigInt(this.size)) throw this.#invalid(`it claims ${value} bytes, more than it has`);
    return Number(value);
  }

  #bytes(offset: number, length: number, what: string): Buffer {
    if (offset < 0 || offset + length > this.size)
      throw this.#invalid(`${what} lies beyond the end of the file`);
    const bytes = Buffer.alloc(length);
    for (let done = 0; done < length; ) {
      const count = readSync(this.fd, bytes, done, Math.min(length - done, 2 ** 30), offset + done);
      if (count === 0) throw this.#invalid('it became shorter while it was read');
      done += count;
    }
    return bytes;
  }

  #invalid(what: string): CraftError {
    return torchFileInvalid(this.path, what);
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

/** @throws CraftError `FILE_NOT_FOUND` */
export function openForReading(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    throw new CraftError('FILE_NOT_FOUND', `${path}: cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** `TORCH_FILE_INVALID`: the file around a pickle is not as torch.save writes it. */
export function torchFileInvalid(path: string, what: string): CraftError {
  return new CraftError(
    'TORCH_FILE_INVALID',
    `${path}: ${what}; the file is damaged or was not written by torch.save`,
  );
}
