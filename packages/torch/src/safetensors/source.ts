import type { SafetensorsDtype } from './dtypes.js';

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
