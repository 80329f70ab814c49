import { CraftError } from '../errors.js';
import { byteSize, isSafetensorsDtype, type SafetensorsDtype, safetensorsDtypes } from './dtypes.js';
import { isJsonObject, JsonError, parseStrictJson, quote } from './json.js';

/** Where the header says a tensor lies. Offsets are bytes from the start of the data, which follows the header. */
export interface TensorEntry {
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** A validated header. */
export interface SafetensorsHeader {
  /** The free-form `__metadata__` strings; empty when the file has none. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Every tensor by name, in the order of the data. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
}

/** Bytes of the length field in front of the header. */
export const LENGTH_BYTES = 8;

/** Largest header the reference implementation accepts, in bytes. */
export const MAX_HEADER_BYTES = 100_000_000;

/** Key of the free-form strings; no tensor may have this name. */
export const METADATA_KEY = '__metadata__';

/**
 * Reads the header's length from the first 8 bytes of a file.
 *
 * @param start the first 8 bytes (fewer only when the file is shorter)
 * @param fileSize size of the whole file in bytes
 * @param file name used in messages
 * @throws CraftError `SAFETENSORS_INVALID`
 */
export function parseHeaderLength(start: Uint8Array, fileSize: number, file: string): number {
  if (start.byteLength < LENGTH_BYTES || fileSize < LENGTH_BYTES) {
    throw invalid(
      file,
      `the file has ${fileSize} bytes, too few for a safetensors file; is the download complete?`,
    );
  }
  const length = new DataView(start.buffer, start.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    const limit = `the limit is ${MAX_HEADER_BYTES}`;
    throw invalid(
      file,
      `the header claims ${length} bytes (${limit}); this is not a safetensors file, or it is damaged`,
    );
  }
  if (Number(length) > fileSize - LENGTH_BYTES) {
    throw invalid(
      file,
      `the header claims ${length} bytes, the file has ${fileSize}; is the download complete?`,
    );
  }
  return Number(length);
}

/**
 * Parses and validates a header: known dtypes, shapes that match their byte ranges, ranges that cover the data exactly,
 * without overlap or hole. Same rules as the reference implementation, which in addition lets unknown fields and some
 * duplicate names pass.
 *
 * @param bytes the header alone, without the 8 bytes of its length
 * @param dataLength bytes that follow the header
 * @param file name used in messages
 * @throws CraftError `SAFETENSORS_INVALID`: one line with the file, the tensor and the reason
 */
export function parseHeader(bytes: Uint8Array, dataLength: number, file: string): SafetensorsHeader {
  const root = parseRoot(bytes, file);
  let metadata: ReadonlyMap<string, string> = new Map();
  const entries: [string, TensorEntry][] = [];
  for (const [name, value] of Object.entries(root)) {
    if (name === METADATA_KEY) metadata = parseMetadata(value, file);
    else entries.push([name, parseEntry(name, value, dataLength, file)]);
  }
  entries.sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  checkCoverage(entries, dataLength, file);
  return { metadata, tensors: new Map(entries) };
}

function parseRoot(bytes: Uint8Array, file: string): Readonly<Record<string, unknown>> {
  if (bytes[0] !== 0x7b)
    throw invalid(file, 'the header does not start with "{"; this is not a safetensors file');
  let root: unknown;
  try {
    // Without ignoreBOM a decoder would swallow a byte order mark inside the header.
    root = parseStrictJson(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes), true);
  } catch (error) {
    if (error instanceof JsonError) throw invalid(file, `the header is not valid JSON: ${error.message}`);
    if (error instanceof TypeError) throw invalid(file, 'the header is not valid UTF-8');
    throw error;
  }
  if (!isJsonObject(root)) throw invalid(file, 'the header is not a JSON object');
  return root;
}

function parseMetadata(value: unknown, file: string): ReadonlyMap<string, string> {
  if (!isJsonObject(value)) throw invalid(file, `${METADATA_KEY} is not an object`);
  const metadata = new Map<string, string>();
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string')
      throw invalid(file, `${METADATA_KEY}: the value of ${quote(key)} is not a string`);
    metadata.set(key, text);
  }
  return metadata;
}

const fields = ['dtype', 'shape', 'data_offsets'];

function parseEntry(name: string, value: unknown, dataLength: number, file: string): TensorEntry {
  const refuse = (reason: string) => invalid(file, `tensor ${quote(name)}: ${reason}`);
  if (!isJsonObject(value)) throw refuse('its entry is not an object');
  for (const field of fields) if (!Object.hasOwn(value, field)) throw refuse(`"${field}" is missing`);
  for (const field of Object.keys(value))
    if (!fields.includes(field)) throw refuse(`unknown field ${quote(field)}`);

  const dtype = value.dtype;
  if (typeof dtype !== 'string') throw refuse('"dtype" is not a string');
  if (!isSafetensorsDtype(dtype)) {
    throw refuse(`unknown dtype ${quote(dtype)}; known are ${safetensorsDtypes.join(', ')}`);
  }
  const shape = sizes(value.shape);
  if (shape === undefined) throw refuse('"shape" is not a list of non-negative integers below 2^53');
  const offsets = sizes(value.data_offsets);
  const [begin, end] = offsets ?? [];
  if (begin === undefined || end === undefined || offsets?.length !== 2) {
    throw refuse('"data_offsets" is not a pair of non-negative integers below 2^53');
  }
  const range = `"data_offsets" [${begin}, ${end}]`;
  if (begin > end) throw refuse(`${range} end before they begin`);
  if (end > dataLength) {
    throw refuse(`${range} lie beyond the ${dataLength} bytes of data; is the file truncated?`);
  }
  const bytes = byteSize(dtype, shape);
  const described = `shape ${shorten(`[${shape}]`)} of ${dtype}`;
  if (bytes === undefined) throw refuse(`${described} is too large`);
  if (bytes !== end - begin)
    throw refuse(`${described} takes ${bytes} bytes, but ${range} hold ${end - begin}`);
  return { dtype, shape, begin, end };
}

/** A JSON list of sizes as numbers; undefined when it is anything else. */
function sizes(value: unknown): number[] | undefined {
  const isSize = (item: unknown) =>
    Number.isSafeInteger(item) && (item as number) >= 0 && !Object.is(item, -0);
  return Array.isArray(value) && value.every(isSize) ? value : undefined;
}

/** Entries come sorted by offset: each must begin where the one before it ended, and the last end with the data. */
function checkCoverage(entries: readonly [string, TensorEntry][], dataLength: number, file: string): void {
  let covered = 0;
  let previous = '';
  for (const [name, { begin, end }] of entries) {
    if (begin < covered) {
      throw invalid(
        file,
        `tensor ${quote(name)}: its data overlaps that of ${quote(previous)} (byte ${begin})`,
      );
    }
    if (begin > covered) {
      throw invalid(
        file,
        `tensor ${quote(name)}: bytes ${covered} to ${begin} before it belong to no tensor`,
      );
    }
    covered = end;
    previous = name;
  }
  if (covered !== dataLength) {
    throw invalid(
      file,
      `the last ${dataLength - covered} bytes of the data belong to no tensor; is the file damaged?`,
    );
  }
}

function shorten(text: string): string {
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** The error of every malformed file. */
export function invalid(file: string, reason: string): CraftError {
  return new CraftError('SAFETENSORS_INVALID', `${file}: ${reason}`);
}
