import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { CraftError, safetensors, type Tensor } from '@craft-ft/torch';

/** Name of a shard's file. */
export function shardName(index: number): string {
  return `shard_${String(index).padStart(5, '0')}.safetensors`;
}

/** dtype and shape of one sample of each stored tensor. */
export type TensorTable = Record<string, { dtype: string; shape: number[] }>;

/** What a shard says about itself. */
export interface ShardNotes {
  /** Of the build it belongs to. */
  fingerprint: string;
  /** Sums of squares of the targets over the shard, by tensor; for the second moments of the whole cache. */
  squares: Record<string, number[]>;
  /** How many hidden states the teacher has; 0 where that was not looked at (all shards but the first). */
  states: number;
}

/**
 * Writes a shard, all or nothing.
 *
 * @param tensors `[count, …]` each
 * @throws CraftError `DISK_FULL`, `WRITE_FAILED`
 */
export function writeShard(
  dir: string,
  file: string,
  tensors: ReadonlyMap<string, Tensor>,
  notes: ShardNotes,
): void {
  safetensors.saveFile(join(dir, file), tensors, {
    fingerprint: notes.fingerprint,
    squares: JSON.stringify(notes.squares),
    states: String(notes.states),
  });
}

/**
 * Opens a shard and checks its header.
 *
 * @throws CraftError `ANCHOR_SHARD_MISSING`, `ANCHOR_SHARD_INVALID` naming the file
 */
export function openShard(dir: string, file: string): safetensors.SafetensorsFile {
  const path = join(dir, file);
  if (!existsSync(path)) throw broken('ANCHOR_SHARD_MISSING', path, 'the file is missing');
  try {
    return safetensors.SafetensorsFile.open(path);
  } catch (error) {
    if (!(error instanceof CraftError)) throw error;
    throw broken('ANCHOR_SHARD_INVALID', path, `damaged (${error.message.replace(`${path}: `, '')})`, error);
  }
}

function broken(code: string, path: string, what: string, cause?: unknown): CraftError {
  const remedy = 'delete the file and run the same craft anchors build again, which makes it anew';
  return new CraftError(code, `${path}: ${what}; ${remedy}`, { cause });
}

/**
 * Checks that a shard holds what the metadata says.
 *
 * @throws CraftError `ANCHOR_SHARD_MISSING`, `ANCHOR_SHARD_INVALID` naming file and tensor
 */
export function checkShard(dir: string, file: string, count: number, tensors: TensorTable): void {
  using shard = openShard(dir, file);
  const path = join(dir, file);
  for (const [name, { dtype, shape }] of Object.entries(tensors)) {
    if (!shard.has(name)) throw broken('ANCHOR_SHARD_INVALID', path, `tensor ${name} is missing`);
    const info = shard.info(name);
    if (info.dtype === dtype && info.shape.join() === [count, ...shape].join()) continue;
    const found = `tensor ${name} is ${info.dtype} [${info.shape}]`;
    throw broken(
      'ANCHOR_SHARD_INVALID',
      path,
      `${found}, metadata.json says ${dtype} [${[count, ...shape]}]`,
    );
  }
}

/** The notes of a finished shard of a build, or null where there is none or it belongs to another build. */
export function finishedShard(
  dir: string,
  file: string,
  fingerprint: string,
  count: number,
): { notes: ShardNotes; tensors: TensorTable } | null {
  if (!existsSync(join(dir, file))) return null;
  try {
    using shard = openShard(dir, file);
    if (shard.metadata.get('fingerprint') !== fingerprint) return null;
    const tensors: TensorTable = {};
    for (const name of shard.names) {
      const { dtype, shape } = shard.info(name);
      if (shape[0] !== count) return null;
      tensors[name] = { dtype, shape: shape.slice(1) };
    }
    const squares = JSON.parse(shard.metadata.get('squares') ?? '{}') as Record<string, number[]>;
    const states = Number(shard.metadata.get('states') ?? 0);
    return { notes: { fingerprint, squares, states }, tensors };
  } catch (error) {
    // A damaged shard is made anew.
    if (error instanceof CraftError || error instanceof SyntaxError) return null;
    throw error;
  }
}

/** SHA-256 of a file, read in parts. @throws CraftError `FILE_UNREADABLE` */
export function fileHash(path: string): string {
  const hash = createHash('sha256');
  const part = new Uint8Array(2 ** 22);
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    for (let count = 1; count > 0; ) {
      count = readSync(fd, part, 0, part.length, null);
      hash.update(part.subarray(0, count));
    }
  } catch (error) {
    throw new CraftError('FILE_UNREADABLE', `${path}: cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
  return hash.digest('hex');
}
