import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CraftError } from '../errors.js';
import type { RawTensor, TensorInfo, TensorSource } from './file.js';
import { SafetensorsFile, tensorNotFound, unreadable } from './file.js';
import { isJsonObject, JsonError, parseStrictJson, quote } from './json.js';

/** Name of a checkpoint that is one file. */
const SINGLE_FILE = 'model.safetensors';

/** Name of the index of a checkpoint that is split over several files. */
export const INDEX_FILE = 'model.safetensors.index.json';

/**
 * A checkpoint split over several safetensors files, under the names of its index
 * (`{"metadata": {"total_size": …}, "weight_map": {tensor: file}}`, as Hugging Face's transformers writes it).
 *
 * A shard is opened, and checked against the index, when its first tensor is asked for. Tensors of a shard that the index does
 * not map are not part of the checkpoint.
 */
export class ShardedSafetensors implements TensorSource {
  readonly names: readonly string[];
  private readonly shards = new Map<string, SafetensorsFile>();
  private closed = false;

  private constructor(
    readonly path: string,
    readonly metadata: ReadonlyMap<string, string>,
    private readonly weightMap: ReadonlyMap<string, string>,
  ) {
    this.names = [...weightMap.keys()];
  }

  /**
   * Opens an index; the shards must lie in its folder.
   *
   * @throws CraftError `FILE_NOT_FOUND`, `FILE_UNREADABLE`; `SAFETENSORS_INDEX_INVALID` for a malformed index, one that names
   * files outside its folder, or one whose shards are missing
   */
  static open(path: string): ShardedSafetensors {
    const root = readIndex(path);
    const map = root.weight_map;
    if (!isJsonObject(map)) throw invalidIndex(path, '"weight_map" is missing or not an object');
    const weightMap = new Map<string, string>();
    for (const [name, file] of Object.entries(map)) weightMap.set(name, shardName(name, file, path));
    for (const file of new Set(weightMap.values())) {
      if (!existsSync(join(dirname(path), file))) {
        throw invalidIndex(path, `the shard ${quote(file)} is missing beside it; is the download complete?`);
      }
    }
    return new ShardedSafetensors(path, indexMetadata(root, path), weightMap);
  }

  has(name: string): boolean {
    return this.weightMap.has(name);
  }

  info(name: string): TensorInfo {
    return this.shardOf(name).info(name);
  }

  read(name: string): RawTensor {
    return this.shardOf(name).read(name);
  }

  readInto(name: string, target: Uint8Array): void {
    this.shardOf(name).readInto(name, target);
  }

  readPart(name: string, begin: number, target: Uint8Array): void {
    this.shardOf(name).readPart(name, begin, target);
  }

  close(): void {
    this.closed = true;
    for (const shard of this.shards.values()) shard.close();
    this.shards.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private shardOf(name: string): SafetensorsFile {
    const file = this.weightMap.get(name);
    if (file === undefined) throw tensorNotFound(this, name);
    if (this.closed) throw new CraftError('FILE_CLOSED', `${this.path}: read after close()`);
    let shard = this.shards.get(file);
    if (shard === undefined) {
      shard = this.openShard(file);
      this.shards.set(file, shard);
    }
    return shard;
  }

  private openShard(file: string): SafetensorsFile {
    const shard = SafetensorsFile.open(join(dirname(this.path), file));
    for (const [name, place] of this.weightMap) {
      if (place !== file || shard.has(name)) continue;
      shard.close();
      throw invalidIndex(
        this.path,
        `tensor ${quote(name)} is not in ${quote(file)}, where the index places it`,
      );
    }
    return shard;
  }
}

/**
 * Opens a checkpoint: a safetensors file, an index (`….json`), or a folder that holds `model.safetensors` or, failing that,
 * `model.safetensors.index.json`.
 *
 * @throws CraftError `CHECKPOINT_NOT_FOUND` when a folder holds neither; otherwise as `SafetensorsFile.open` and
 * `ShardedSafetensors.open`
 */
export function openCheckpoint(path: string): TensorSource {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return openFile(path);
  for (const name of [SINGLE_FILE, INDEX_FILE]) {
    const candidate = join(path, name);
    if (existsSync(candidate)) return openFile(candidate);
  }
  const others = readdirSync(path).filter((name) => name.endsWith('.safetensors'));
  const hint = others.length > 0 ? `; name one of its files: ${others.sort().slice(0, 5).join(', ')}` : '';
  throw new CraftError(
    'CHECKPOINT_NOT_FOUND',
    `${path}: holds neither ${SINGLE_FILE} nor ${INDEX_FILE}${hint}`,
  );
}

function openFile(path: string): TensorSource {
  return path.endsWith('.json') ? ShardedSafetensors.open(path) : SafetensorsFile.open(path);
}

function readIndex(path: string): Readonly<Record<string, unknown>> {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw unreadable(error, path);
  }
  let root: unknown;
  try {
    root = parseStrictJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    if (error instanceof JsonError) throw invalidIndex(path, `not valid JSON: ${error.message}`);
    if (error instanceof TypeError) throw invalidIndex(path, 'not valid UTF-8');
    throw error;
  }
  if (!isJsonObject(root)) throw invalidIndex(path, 'not a JSON object');
  return root;
}

/** Only plain names: an index from elsewhere must not reach files outside its own folder. */
function shardName(name: string, file: unknown, path: string): string {
  if (typeof file !== 'string')
    throw invalidIndex(path, `"weight_map": the file of ${quote(name)} is not a string`);
  if (file === '' || file === '.' || file === '..' || /[/\\:\0]/.test(file)) {
    throw invalidIndex(path, `"weight_map": ${quote(file)} is not the name of a file in the same folder`);
  }
  return file;
}

function indexMetadata(root: Readonly<Record<string, unknown>>, path: string): ReadonlyMap<string, string> {
  const result = new Map<string, string>();
  const metadata = root.metadata ?? null;
  if (metadata === null) return result;
  if (!isJsonObject(metadata)) throw invalidIndex(path, '"metadata" is not an object');
  for (const [key, value] of Object.entries(metadata)) {
    if (['number', 'string', 'boolean'].includes(typeof value)) result.set(key, String(value));
  }
  return result;
}

function invalidIndex(path: string, reason: string): CraftError {
  return new CraftError('SAFETENSORS_INDEX_INVALID', `${path}: ${reason}`);
}
