import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { craftError } from '../../test/craft-error.js';
import { temporaryFolder } from '../../test/safetensors.js';
import { INDEX_FILE, openCheckpoint, ShardedSafetensors } from './sharded.js';
import { writeSafetensors } from './write.js';

const root = temporaryFolder();
const first = 'model-00001-of-00002.safetensors';
const second = 'model-00002-of-00002.safetensors';
const byte = (name: string, value: number) => ({
  name,
  dtype: 'U8' as const,
  shape: [1],
  data: new Uint8Array([value]),
});

/** A folder with two shards and an index of the given content (an object, or raw text). */
function checkpoint(
  index: unknown = {
    metadata: { total_size: 3, format: 'pt' },
    weight_map: { a: first, c: second, b: first },
  },
): string {
  const folder = mkdtempSync(join(root, 'c-'));
  writeSafetensors(join(folder, first), [byte('a', 1), byte('b', 2)]);
  writeSafetensors(join(folder, second), [byte('c', 3), byte('unmapped', 4)]);
  writeFileSync(join(folder, INDEX_FILE), typeof index === 'string' ? index : JSON.stringify(index));
  return folder;
}

describe('ShardedSafetensors', () => {
  it('reads across shards as if they were one file', () => {
    using source = openCheckpoint(checkpoint());
    expect(source).toBeInstanceOf(ShardedSafetensors);
    expect(source.names).toEqual(['a', 'c', 'b']);
    expect([...source.metadata]).toEqual([
      ['total_size', '3'],
      ['format', 'pt'],
    ]);
    expect(source.names.map((name) => source.read(name).data[0])).toEqual([1, 3, 2]);
    expect(source.info('c')).toEqual({ dtype: 'U8', shape: [1], byteLength: 1 });
    const memory = new Uint8Array(1);
    source.readInto('b', memory);
    expect(memory[0]).toBe(2);
    expect([source.has('a'), source.has('unmapped')]).toEqual([true, false]);
    expect(craftError(() => source.read('unmapped')).code).toBe('TENSOR_NOT_FOUND');
    source.close();
    source.close();
    expect(craftError(() => source.read('a')).code).toBe('FILE_CLOSED');
  });

  it('opens a shard only when it is needed', () => {
    const folder = checkpoint();
    writeFileSync(join(folder, second), 'broken');
    using source = openCheckpoint(folder);
    expect(source.read('a').data[0]).toBe(1);
    const error = craftError(() => source.read('c'));
    expect(error.code).toBe('SAFETENSORS_INVALID');
    expect(error.message).toContain(second);
  });

  it('refuses a missing shard at once', () => {
    const folder = checkpoint();
    rmSync(join(folder, second));
    const error = craftError(() => openCheckpoint(folder));
    expect(error.code).toBe('SAFETENSORS_INDEX_INVALID');
    expect(error.message).toContain(`${INDEX_FILE}: the shard "${second}" is missing`);
  });

  it('refuses a tensor that is absent from its shard, before reading any of it', () => {
    using source = openCheckpoint(checkpoint({ weight_map: { a: first, ghost: first } }));
    const error = craftError(() => source.read('a'));
    expect(error.code).toBe('SAFETENSORS_INDEX_INVALID');
    expect(error.message).toContain('tensor "ghost" is not in');
  });

  it.each([
    '../secret.safetensors',
    '/etc/passwd',
    'sub/x.safetensors',
    '..\\x',
    'C:x',
    '..',
    '.',
    '',
    'a\0b',
  ])('refuses the file name %j', (file) => {
    const error = craftError(() => openCheckpoint(checkpoint({ weight_map: { a: file } })));
    expect(error.code).toBe('SAFETENSORS_INDEX_INVALID');
    expect(error.message).toContain('not the name of a file in the same folder');
  });

  it.each([
    ['not valid JSON', '{'],
    ['not valid JSON', ''],
    ['occurs twice', `{"weight_map":{"a":"${first}","a":"${second}"}}`],
    ['not a JSON object', '[]'],
    ['"weight_map" is missing', '{}'],
    ['"weight_map" is missing', '{"weight_map":[]}'],
    ['not a string', '{"weight_map":{"a":1}}'],
    ['"metadata" is not', '{"metadata":3,"weight_map":{}}'],
  ])('refuses an index: %s', (reason, text) => {
    const error = craftError(() => openCheckpoint(checkpoint(text)));
    expect(error.code).toBe('SAFETENSORS_INDEX_INVALID');
    expect(error.message).toContain(reason);
  });
});

describe('openCheckpoint', () => {
  it('prefers the single file, and takes a file or an index by name', () => {
    const folder = checkpoint();
    writeSafetensors(join(folder, 'model.safetensors'), [byte('whole', 9)]);
    for (const [path, names] of [
      [folder, ['whole']],
      [join(folder, first), ['a', 'b']],
      [join(folder, INDEX_FILE), ['a', 'c', 'b']],
    ] as const) {
      using source = openCheckpoint(path);
      expect(source.names).toEqual(names);
    }
  });

  it('follows symbolic links, as in a download cache', () => {
    const folder = mkdtempSync(join(root, 'cache-'));
    const real = checkpoint();
    symlinkSync(join(real, INDEX_FILE), join(folder, INDEX_FILE));
    for (const shard of [first, second]) symlinkSync(join(real, shard), join(folder, shard));
    using source = openCheckpoint(folder);
    expect(source.read('c').data[0]).toBe(3);
  });

  it('says what a folder without a checkpoint holds, and what is missing', () => {
    const folder = mkdtempSync(join(root, 'other-'));
    writeSafetensors(join(folder, 'adapter.safetensors'), []);
    const error = craftError(() => openCheckpoint(folder));
    expect(error.code).toBe('CHECKPOINT_NOT_FOUND');
    expect(error.message).toContain('adapter.safetensors');
    expect(craftError(() => openCheckpoint(join(folder, 'no'))).code).toBe('FILE_NOT_FOUND');
    expect(craftError(() => openCheckpoint(join(folder, 'no.json'))).code).toBe('FILE_NOT_FOUND');
  });
});
