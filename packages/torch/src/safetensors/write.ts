import { atomicWrite, writeFully } from '../atomic.js';
import { CraftError } from '../errors.js';
import { alignmentRank, byteSize, isSafetensorsDtype, type SafetensorsDtype } from './dtypes.js';
import { LENGTH_BYTES, MAX_HEADER_BYTES, METADATA_KEY } from './header.js';
import { hasLoneSurrogate, quote } from './json.js';

/** A tensor to store. `data` may be a function, called when its turn comes: one tensor in memory at a time. */
export interface SafetensorsEntry {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  /** Row-major, little-endian bytes: exactly as many as dtype and shape ask for. */
  readonly data: Uint8Array | (() => Uint8Array);
}

/** Free-form strings to store beside the tensors. */
export type SafetensorsMetadata = Readonly<Record<string, string>> | ReadonlyMap<string, string>;

/**
 * Writes a safetensors file, all or nothing: on any failure what was at `path` is untouched.
 *
 * Layout as the reference implementation's: tensors by descending dtype alignment, then by name (compared as UTF-8), header
 * padded with spaces to a multiple of 8 bytes. The same tensors always give the same bytes.
 *
 * @throws CraftError `SAFETENSORS_ENTRY_INVALID` for an entry that cannot be stored (duplicate or unusable name, dtype, shape, or
 * data of another size), `DISK_FULL`, `WRITE_FAILED`
 *
 * @example
 * ```ts
 * const data = new Uint8Array(new Float32Array([1, 2, 3, 4, 5, 6]).buffer);
 * writeSafetensors('w.safetensors', [{ name: 'w', dtype: 'F32', shape: [2, 3], data }], { format: 'pt' });
 * ```
 */
export function writeSafetensors(
  path: string,
  entries: Iterable<SafetensorsEntry>,
  metadata?: SafetensorsMetadata,
): void {
  const placed = place(entries, path);
  const header = encodeHeader(placed, metadata, path);
  atomicWrite(path, (fd) => {
    writeFully(fd, header);
    for (const { entry, begin, end } of placed) {
      const data = typeof entry.data === 'function' ? entry.data() : entry.data;
      if (data.byteLength !== end - begin) {
        const wanted = `shape [${entry.shape}] of ${entry.dtype} takes ${end - begin} bytes`;
        throw refuse(path, entry.name, `${wanted}, its data has ${data.byteLength}`);
      }
      writeFully(fd, data);
    }
  });
}

interface Placed {
  readonly entry: SafetensorsEntry;
  readonly begin: number;
  readonly end: number;
}

function place(entries: Iterable<SafetensorsEntry>, path: string): Placed[] {
  const list = [...entries];
  const seen = new Set<string>();
  for (const { name, dtype } of list) {
    if (name === METADATA_KEY) throw refuse(path, name, 'this name is reserved');
    if (seen.has(name)) throw refuse(path, name, 'the name occurs twice');
    if (hasLoneSurrogate(name)) throw refuse(path, name, 'the name has no UTF-8 form');
    if (!isSafetensorsDtype(dtype))
      throw refuse(path, name, `safetensors has no dtype ${quote(String(dtype))}`);
    seen.add(name);
  }
  // UTF-8 order is code-point order, which differs from JavaScript's own order beyond the basic plane.
  const keyed = list.map((entry) => ({ entry, key: Buffer.from(entry.name, 'utf8') }));
  keyed.sort(
    (a, b) => alignmentRank(b.entry.dtype) - alignmentRank(a.entry.dtype) || Buffer.compare(a.key, b.key),
  );
  let end = 0;
  return keyed.map(({ entry }) => {
    const size = byteSize(entry.dtype, entry.shape);
    if (size === undefined) throw refuse(path, entry.name, `the shape [${entry.shape}] cannot be stored`);
    const begin = end;
    end += size;
    return { entry, begin, end };
  });
}

function encodeHeader(
  placed: readonly Placed[],
  metadata: SafetensorsMetadata | undefined,
  path: string,
): Uint8Array {
  // Assembled as text: an object would reorder names such as "0" and lose "__proto__".
  const parts: string[] = [];
  if (metadata !== undefined) parts.push(`"${METADATA_KEY}":${encodeMetadata(metadata, path)}`);
  for (const { entry, begin, end } of placed) {
    const info = `{"dtype":"${entry.dtype}","shape":[${entry.shape}],"data_offsets":[${begin},${end}]}`;
    parts.push(`${JSON.stringify(entry.name)}:${info}`);
  }
  const json = Buffer.from(`{${parts.join(',')}}`, 'utf8');
  const length = Math.ceil(json.byteLength / 8) * 8;
  if (length > MAX_HEADER_BYTES) {
    const message = `${path}: the header would take ${length} bytes, more than the limit of ${MAX_HEADER_BYTES}`;
    throw new CraftError('SAFETENSORS_ENTRY_INVALID', message);
  }
  const header = Buffer.alloc(LENGTH_BYTES + length, ' ');
  header.writeBigUInt64LE(BigInt(length));
  json.copy(header, LENGTH_BYTES);
  return header;
}

function encodeMetadata(metadata: SafetensorsMetadata, path: string): string {
  const pairs = metadata instanceof Map ? [...metadata] : Object.entries(metadata);
  const parts = pairs.map(([key, value]) => {
    if (typeof value !== 'string' || hasLoneSurrogate(key) || hasLoneSurrogate(value)) {
      throw refuse(path, METADATA_KEY, `the value of ${quote(key)} is not a string that UTF-8 can hold`);
    }
    return `${JSON.stringify(key)}:${JSON.stringify(value)}`;
  });
  return `{${parts.join(',')}}`;
}

function refuse(path: string, name: string, reason: string): CraftError {
  return new CraftError('SAFETENSORS_ENTRY_INVALID', `${path}: tensor ${quote(name)}: ${reason}`);
}
