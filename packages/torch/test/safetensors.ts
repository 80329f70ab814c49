import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import {
  LENGTH_BYTES,
  parseHeader,
  parseHeaderLength,
  type SafetensorsHeader,
} from '../src/safetensors/header.js';

/** A folder that is removed when the tests of the calling file are done. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'craft-torch-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The bytes of a safetensors file with this header (text or raw bytes) and data. */
export function fileBytes(header: string | Uint8Array, data = new Uint8Array(), length?: bigint): Uint8Array {
  const body = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(LENGTH_BYTES + body.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(body.length), true);
  bytes.set(body, LENGTH_BYTES);
  bytes.set(data, LENGTH_BYTES + body.length);
  return bytes;
}

/** Parses a whole file held in memory the way `SafetensorsFile.open` does with one on disk. */
export function parseBytes(bytes: Uint8Array): SafetensorsHeader {
  const length = parseHeaderLength(bytes.subarray(0, LENGTH_BYTES), bytes.length, 'test.safetensors');
  const data = LENGTH_BYTES + length;
  return parseHeader(bytes.subarray(LENGTH_BYTES, data), bytes.length - data, 'test.safetensors');
}
