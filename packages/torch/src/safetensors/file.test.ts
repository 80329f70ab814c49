import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { craftError } from '../../test/craft-error.js';
import { fileBytes, temporaryFolder } from '../../test/safetensors.js';
import { findGolden, shared, sharedPath } from '../../test/shared.js';
import { SafetensorsFile } from './file.js';

const folder = temporaryFolder();

function write(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

const two = fileBytes(
  '{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"F64","shape":[],"data_offsets":[3,11]}}',
  new Uint8Array([1, 2, 3, ...new Uint8Array(new Float64Array([-0.5]).buffer)]),
);

describe('SafetensorsFile', () => {
  it('lists, describes and reads tensors, each into an aligned buffer of its own', () => {
    using file = SafetensorsFile.open(write('two.safetensors', two));
    expect(file.names).toEqual(['a', 'b']);
    expect(file.has('a')).toBe(true);
    expect(file.has('c')).toBe(false);
    expect(file.info('b')).toEqual({ dtype: 'F64', shape: [], byteLength: 8 });
    const b = file.read('b');
    expect(b.data.byteOffset).toBe(0);
    expect(new Float64Array(b.data.buffer)[0]).toBe(-0.5);
    expect([...file.read('a').data]).toEqual([1, 2, 3]);
  });

  it('reads into memory of the caller, of exactly the right size', () => {
    using file = SafetensorsFile.open(write('into.safetensors', two));
    const memory = new Uint8Array(5);
    file.readInto('a', memory.subarray(1, 4));
    expect([...memory]).toEqual([0, 1, 2, 3, 0]);
    expect(craftError(() => file.readInto('a', memory)).code).toBe('SIZE_MISMATCH');
  });

  it('names what it has when asked for something else', () => {
    using file = SafetensorsFile.open(write('names.safetensors', two));
    for (const run of [() => file.info('c'), () => file.read('toString')]) {
      const error = craftError(run);
      expect(error.code).toBe('TENSOR_NOT_FOUND');
      expect(error.message).toContain('it has "a", "b"');
    }
  });

  it('refuses to read once closed; closing twice is harmless', () => {
    const file = SafetensorsFile.open(write('closed.safetensors', two));
    file.close();
    file.close();
    expect(craftError(() => file.read('a')).code).toBe('FILE_CLOSED');
  });

  it('notices a file that was truncated while open', () => {
    const path = write('shrinks.safetensors', two);
    using file = SafetensorsFile.open(path);
    truncateSync(path, two.length - 1);
    const error = craftError(() => file.read('b'));
    expect(error.code).toBe('SAFETENSORS_INVALID');
    expect(error.message).toContain('became shorter');
    expect([...file.read('a').data]).toEqual([1, 2, 3]);
  });

  it('refuses a missing file, a folder, and every truncation of a file', () => {
    expect(craftError(() => SafetensorsFile.open(join(folder, 'absent'))).code).toBe('FILE_NOT_FOUND');
    mkdirSync(join(folder, 'sub'));
    expect(craftError(() => SafetensorsFile.open(join(folder, 'sub'))).code).toBe('FILE_UNREADABLE');
    for (let length = 0; length < two.length; length++) {
      const path = write('cut.safetensors', two.subarray(0, length));
      const error = craftError(() => SafetensorsFile.open(path));
      expect(error.code).toBe('SAFETENSORS_INVALID');
      expect(error.message.startsWith(`${path}: `)).toBe(true);
    }
  });

  it('closes its descriptor when opening fails', () => {
    const path = write('leak.safetensors', two.subarray(0, 20));
    const count = () => readdirSync('/proc/self/fd').length;
    if (process.platform !== 'linux') return;
    const before = count();
    for (let i = 0; i < 20; i++) craftError(() => SafetensorsFile.open(path));
    expect(count()).toBe(before);
  });

  it('reads one tensor behind 5 GB of others without reading those', () => {
    const path = join(folder, 'sparse.safetensors');
    const big = 5 * 2 ** 30;
    const header = fileBytes(
      `{"big":{"dtype":"F32","shape":[${big / 4}],"data_offsets":[0,${big}]},"tail":{"dtype":"U8","shape":[2],"data_offsets":[${big},${big + 2}]}}`,
    );
    const fd = openSync(path, 'w');
    writeSync(fd, header);
    // The gap takes no disk space: file systems store it as a hole.
    ftruncateSync(fd, header.length + big);
    writeSync(fd, new Uint8Array([7, 8]), 0, 2, header.length + big);
    closeSync(fd);
    const before = process.memoryUsage().rss;
    using file = SafetensorsFile.open(path);
    expect(file.info('big').byteLength).toBe(big);
    expect([...file.read('tail').data]).toEqual([7, 8]);
    expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 28);
  });
});

describe('golden files', () => {
  const own = fileURLToPath(new URL('../../../policies/test/golden', import.meta.url));
  const folders = [own, ...(shared === null ? [] : [sharedPath('golden')])];
  const golden = folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => [name, folder] as const),
  );
  it.each(golden.filter(([name]) => name.endsWith('.safetensors')))('%s', (name, folder) => {
    using file = SafetensorsFile.open(join(folder, name));
    expect(file.names.length).toBeGreaterThan(0);
    for (const tensor of file.names) {
      const { dtype, shape, data } = file.read(tensor);
      expect(file.info(tensor)).toEqual({ dtype, shape, byteLength: data.byteLength });
      if (dtype === 'BOOL') expect(data.every((value) => value <= 1)).toBe(true);
    }
  });

  it('has the shapes its description gives', () => {
    using file = SafetensorsFile.open(findGolden('act', 'a_state_env_vae', 'batch.safetensors')!);
    expect(file.info('observation.state')).toEqual({ dtype: 'F32', shape: [3, 6], byteLength: 72 });
    expect(file.info('action')).toEqual({ dtype: 'F32', shape: [3, 8, 4], byteLength: 384 });
    expect(file.info('action_is_pad').dtype).toBe('BOOL');
  });
});
