import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { CraftError, errnoCode } from '../errors.js';
import type { SafetensorsDtype } from './dtypes.js';
import { invalid, LENGTH_BYTES, parseHeader, parseHeaderLength, type TensorEntry } from './header.js';
import { quote } from './json.js';

/** What is known of a stored tensor without reading it. */
export interface TensorInfo {
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly byteLength: number;
}

/** A stored tensor: row-major, little-endian bytes in a buffer of their own (so any typed array may view it). */
export interface RawTensor {
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly data: Uint8Array<ArrayBuffer>;
}

/** Named tensors on disk, read one at a time: a single file or a sharded checkpoint. */
export interface TensorSource extends Disposable {
  /** The file (or index) this was opened from; messages begin with it. */
  readonly path: string;
  /** Every tensor's name. */
  readonly names: readonly string[];
  /** Free-form strings stored beside the tensors. */
  readonly metadata: ReadonlyMap<string, string>;
  has(name: string): boolean;
  /** @throws CraftError `TENSOR_NOT_FOUND` */
  info(name: string): TensorInfo;
  /** Reads one tensor, and nothing else, from disk. @throws CraftError `TENSOR_NOT_FOUND`, `SAFETENSORS_INVALID` */
  read(name: string): RawTensor;
  /** As `read`, into memory of the caller's: exactly `info(name).byteLength` bytes. @throws CraftError `SIZE_MISMATCH` too */
  readInto(name: string, target: Uint8Array): void;
  /**
   * Fills `target` with a part of a tensor's bytes: a large tensor can be read without holding all of it.
   *
   * @param begin first byte, counted from the start of the tensor
   * @throws CraftError `SIZE_MISMATCH` where the part reaches beyond the tensor
   */
  readPart(name: string, begin: number, target: Uint8Array): void;
  /** Closes the files; reading afterwards throws. Closing twice is harmless. */
  close(): void;
}

/** The kernel reads at most 2 GiB in one call; 1 GiB stays clear of that everywhere. */
const MAX_READ = 2 ** 30;

/**
 * One safetensors file, read lazily: opening reads and checks the header only, `read` the bytes of a single tensor.
 *
 * @example
 * ```ts
 * using file = SafetensorsFile.open('model.safetensors');
 * for (const name of file.names) console.log(name, file.info(name).shape);
 * const { dtype, shape, data } = file.read('model.action_head.weight');
 * ```
 */
export class SafetensorsFile implements TensorSource {
  readonly names: readonly string[];

  private constructor(
    readonly path: string,
    readonly metadata: ReadonlyMap<string, string>,
    private readonly tensors: ReadonlyMap<string, TensorEntry>,
    private readonly dataStart: number,
    private fd: number | undefined,
  ) {
    this.names = [...tensors.keys()];
  }

  /**
   * Opens a file and validates its header.
   *
   * @throws CraftError `FILE_NOT_FOUND`, `FILE_UNREADABLE`, or `SAFETENSORS_INVALID` for a malformed file
   */
  static open(path: string): SafetensorsFile {
    const fd = openForReading(path);
    try {
      const stat = fstatSync(fd);
      if (!stat.isFile()) throw new CraftError('FILE_UNREADABLE', `${path}: not a file`);
      const start = new Uint8Array(Math.min(LENGTH_BYTES, stat.size));
      readFully(fd, start, 0, path);
      const headerBytes = parseHeaderLength(start, stat.size, path);
      const dataStart = LENGTH_BYTES + headerBytes;
      const bytes = new Uint8Array(headerBytes);
      readFully(fd, bytes, LENGTH_BYTES, path);
      const { metadata, tensors } = parseHeader(bytes, stat.size - dataStart, path);
      return new SafetensorsFile(path, metadata, tensors, dataStart, fd);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  has(name: string): boolean {
    return this.tensors.has(name);
  }

  info(name: string): TensorInfo {
    const { dtype, shape, begin, end } = this.entry(name);
    return { dtype, shape: [...shape], byteLength: end - begin };
  }

  read(name: string): RawTensor {
    const { dtype, shape, byteLength } = this.info(name);
    const data = allocate(byteLength, () => `${this.path}: tensor ${quote(name)}`);
    this.readInto(name, data);
    return { dtype, shape, data };
  }

  readInto(name: string, target: Uint8Array): void {
    const { begin, end } = this.entry(name);
    if (target.byteLength !== end - begin) {
      const message = `${this.path}: tensor ${quote(name)} has ${end - begin} bytes, the target ${target.byteLength}`;
      throw new CraftError('SIZE_MISMATCH', message);
    }
    this.readPart(name, 0, target);
  }

  readPart(name: string, begin: number, target: Uint8Array): void {
    const entry = this.entry(name);
    const size = entry.end - entry.begin;
    if (begin < 0 || begin + target.byteLength > size) {
      const message = `${this.path}: tensor ${quote(name)} has ${size} bytes, asked for ${begin} to ${begin + target.byteLength}`;
      throw new CraftError('SIZE_MISMATCH', message);
    }
    if (this.fd === undefined) throw new CraftError('FILE_CLOSED', `${this.path}: read after close()`);
    readFully(this.fd, target, this.dataStart + entry.begin + begin, this.path);
  }

  close(): void {
    const fd = this.fd;
    this.fd = undefined;
    if (fd !== undefined) closeSync(fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private entry(name: string): TensorEntry {
    const entry = this.tensors.get(name);
    if (entry === undefined) throw tensorNotFound(this, name);
    return entry;
  }
}

/** The error for a name that a checkpoint does not have; shows some that it has. */
export function tensorNotFound(source: { path: string; names: readonly string[] }, name: string): CraftError {
  const some = source.names.slice(0, 3).map(quote).join(', ');
  const held =
    source.names.length > 3 ? `it has ${source.names.length}: ${some}, …` : `it has ${some || 'none'}`;
  return new CraftError('TENSOR_NOT_FOUND', `${source.path}: no tensor ${quote(name)}; ${held}`);
}

/** The error for a path that cannot be opened or read; anything but a file-system error comes back unchanged. */
export function unreadable(error: unknown, path: string): unknown {
  const code = errnoCode(error);
  if (code === undefined) return error;
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new CraftError('FILE_NOT_FOUND', `${path}: no such file`, { cause: error });
  }
  const reason = code === 'EACCES' || code === 'EPERM' ? 'permission denied' : code;
  return new CraftError('FILE_UNREADABLE', `${path}: cannot be read: ${reason}`, { cause: error });
}

function openForReading(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    throw unreadable(error, path);
  }
}

function allocate(byteLength: number, what: () => string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(byteLength);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new CraftError('OUT_OF_MEMORY', `${what()}: cannot allocate ${byteLength} bytes`, { cause: error });
  }
}

/** Fills `target` from `position` on; positions beyond 2^31 and targets beyond 2 GiB are fine. */
function readFully(fd: number, target: Uint8Array, position: number, path: string): void {
  let done = 0;
  while (done < target.byteLength) {
    const wanted = Math.min(target.byteLength - done, MAX_READ);
    let count: number;
    try {
      count = readSync(fd, target, done, wanted, position + done);
    } catch (error) {
      throw unreadable(error, path);
    }
    if (count === 0) throw invalid(path, 'the file became shorter while it was open; was it overwritten?');
    done += count;
  }
}
