import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { craftError } from '../../test/craft-error.js';
import { temporaryFolder } from '../../test/safetensors.js';
import { findGolden } from '../../test/shared.js';
import { itemSize, type SafetensorsDtype, safetensorsDtypes } from './dtypes.js';
import { SafetensorsFile } from './file.js';
import { type SafetensorsEntry, writeSafetensors } from './write.js';

const folder = temporaryFolder();
const path = join(folder, 'model.safetensors');

const zeros = (name: string, dtype: SafetensorsDtype, shape: number[]): SafetensorsEntry => {
  const size = shape.reduce((product, length) => product * length, itemSize(dtype));
  return { name, dtype, shape, data: new Uint8Array(size) };
};

const tensor = fc
  .record({
    name: fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 12 }),
      fc.constantFrom('', '__proto__', '0', '10', 'constructor', '模型.权重', '🤖', '\u0000', '"\\\n'),
    ),
    dtype: fc.constantFrom(...safetensorsDtypes),
    shape: fc.array(fc.nat(4), { maxLength: 4 }),
    seed: fc.nat(255),
  })
  .map(({ name, dtype, shape, seed }) => {
    const entry = zeros(name, dtype, shape);
    const data = (entry.data as Uint8Array).map((_, index) => (index * 31 + seed) & 255);
    return { ...entry, data };
  });

describe('writeSafetensors', () => {
  it('round-trips every dtype, shape and name', () => {
    const tensors = fc.uniqueArray(tensor, { selector: ({ name }) => name, maxLength: 8 });
    const metadata = fc.option(
      fc.dictionary(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' })),
      {
        nil: undefined,
      },
    );
    fc.assert(
      fc.property(tensors, metadata, fc.boolean(), (entries, strings, lazy) => {
        const given = lazy ? entries.map((entry) => ({ ...entry, data: () => entry.data })) : entries;
        writeSafetensors(path, given, strings);
        using file = SafetensorsFile.open(path);
        expect(new Set(file.names)).toEqual(new Set(entries.map(({ name }) => name)));
        expect([...file.metadata]).toEqual(Object.entries(strings ?? {}));
        for (const { name, dtype, shape, data } of entries) {
          const read = file.read(name);
          expect([read.dtype, read.shape]).toEqual([dtype, shape]);
          expect(Buffer.compare(read.data, data)).toBe(0);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('lays out tensors as the reference implementation does, whatever order they come in', () => {
    const entries = [
      zeros('b', 'U8', [3]),
      zeros('a', 'F32', [1]),
      zeros('\u{10000}', 'I64', [1]),
      zeros('\uffff', 'I64', [1]),
      zeros('z', 'F64', [2]),
      zeros('c', 'BF16', []),
      zeros('a10', 'F32', [1]),
    ];
    writeSafetensors(path, entries);
    const bytes = readFileSync(path);
    expect(bytes.readBigUInt64LE() % 8n).toBe(0n);
    using file = SafetensorsFile.open(path);
    expect(file.names).toEqual(['\uffff', '\u{10000}', 'z', 'a', 'a10', 'c', 'b']);
    writeSafetensors(path, entries.reverse());
    expect(Buffer.compare(readFileSync(path), bytes)).toBe(0);
  });

  it('writes exactly this header', () => {
    writeSafetensors(path, [zeros('a', 'F32', [1, 2])], { format: 'pt' });
    const json = '{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}';
    const padded = json.padEnd(Math.ceil(json.length / 8) * 8);
    expect(readFileSync(path).subarray(8).toString('latin1')).toBe(padded + '\0'.repeat(8));
    writeSafetensors(path, []);
    expect(readFileSync(path).toString('latin1')).toBe('\u0008\0\0\0\0\0\0\0{}      ');
  });

  it('calls for one tensor at a time, in the order of the data', () => {
    const calls: string[] = [];
    const lazy = (name: string, dtype: SafetensorsDtype): SafetensorsEntry => ({
      ...zeros(name, dtype, [2]),
      data: () => {
        calls.push(name);
        return new Uint8Array(2 * itemSize(dtype));
      },
    });
    writeSafetensors(path, [lazy('small', 'U8'), lazy('large', 'F64')]);
    expect(calls).toEqual(['large', 'small']);
  });

  it.each([
    ['occurs twice', [zeros('a', 'U8', [1]), zeros('a', 'I8', [1])]],
    ['reserved', [zeros('__metadata__', 'U8', [1])]],
    ['UTF-8', [zeros('\ud800', 'U8', [1])]],
    ['no dtype "float32"', [{ ...zeros('a', 'U8', [1]), dtype: 'float32' as SafetensorsDtype }]],
    ['shape [-1]', [{ ...zeros('a', 'U8', [1]), shape: [-1] }]],
    ['shape [1.5]', [{ ...zeros('a', 'U8', [1]), shape: [1.5] }]],
    ['takes 4 bytes, its data has 5', [{ ...zeros('a', 'F32', [1]), data: new Uint8Array(5) }]],
    ['takes 4 bytes, its data has 3', [{ ...zeros('a', 'F32', [1]), data: () => new Uint8Array(3) }]],
  ])('refuses: %s', (reason, entries) => {
    const target = join(folder, 'refused.safetensors');
    writeFileSync(target, 'precious');
    const error = craftError(() => writeSafetensors(target, entries));
    expect(error.code).toBe('SAFETENSORS_ENTRY_INVALID');
    expect(error.message).toContain(reason);
    expect(error.message).not.toContain('\n');
    expect(readFileSync(target, 'utf8')).toBe('precious');
  });

  it('leaves the existing file and the folder as they were when a tensor cannot be produced', () => {
    const place = join(folder, 'failing');
    mkdirSync(place);
    const target = join(place, 'model.safetensors');
    writeSafetensors(target, [zeros('a', 'F32', [4])]);
    const before = readFileSync(target);
    const failing: SafetensorsEntry = {
      ...zeros('b', 'U8', [1]),
      data: () => {
        throw new Error('device lost');
      },
    };
    expect(() => writeSafetensors(target, [zeros('a', 'F32', [1000]), failing])).toThrow('device lost');
    expect(Buffer.compare(readFileSync(target), before)).toBe(0);
    expect(readdirSync(place)).toEqual(['model.safetensors']);
  });
});

describe('golden files', () => {
  it.each([
    'optim/tensors',
    'act/trace/inputs',
    'act/a_state_env_vae/batch',
    'act/b_narrow_image_vae/weights',
  ])('%s is reproduced from its tensors', (name) => {
    const source = findGolden(`${name}.safetensors`)!;
    using file = SafetensorsFile.open(source);
    const entries = file.names.map((tensor) => ({
      ...file.info(tensor),
      name: tensor,
      data: () => file.read(tensor).data,
    }));
    writeSafetensors(path, entries, file.metadata.size > 0 ? file.metadata : undefined);
    expect(Buffer.compare(readFileSync(path), readFileSync(source))).toBe(0);
  });
});
