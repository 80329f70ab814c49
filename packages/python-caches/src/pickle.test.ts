import { existsSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scope } from '@craft-ft/torch';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { thrown } from '../../datasets/test/thrown.js';
import { testFolder } from '../../training/test/training.js';
import { bytes, storedZip, writeTorchFile } from '../test/torch-files.js';
import { readPickle } from './pickle.js';
import { PickledTensor, TORCH, TorchFile } from './torch-file.js';

const folder = testFolder();
const read = (...parts: (string | number | Uint8Array)[]) =>
  readPickle(bytes(0x80, 2, ...parts), 'x.pt', TORCH);
const refusal = (...parts: (string | number | Uint8Array)[]) => thrown(() => read(...parts));
/** `q` memo number. */
const u32 = (value: number) => new Uint8Array(new Uint32Array([value]).buffer);
const text = (value: string) => bytes('X', u32(Buffer.byteLength(value)), Buffer.from(value));

test('values: numbers, texts, containers, memo, both spellings of a dict', () => {
  expect(read('N.')).toBeNull();
  expect(read('K', 7, '.')).toBe(7);
  expect(read('M', 1, 2, '.')).toBe(513);
  expect(read('J', 0xfe, 0xff, 0xff, 0xff, '.')).toBe(-2);
  expect(read(0x8a, 2, 0, 0xff, '.')).toBe(-256);
  expect(read(0x8a, 0, '.')).toBe(0);
  expect(read('G', 0x3f, 0xf8, 0, 0, 0, 0, 0, 0, '.')).toBe(1.5);
  expect(read(text('Grüße'), '.')).toBe('Grüße');
  expect(read('](', 0x88, 0x89, 'e.')).toEqual([true, false]);
  expect(read('}', text('a'), 'K', 1, 's.')).toEqual(new Map([['a', 1]]));
  expect(read('ccollections\nOrderedDict\n)R(', text('a'), 'Nu.')).toEqual(new Map([['a', null]]));
  expect(read(text('x'), 'q', 3, '0h', 3, '.')).toBe('x');
  expect(read('K', 1, 'K', 2, 0x86, '.')).toEqual({ kind: 'tuple', items: [1, 2] });
  // Protocol 4.
  expect(readPickle(bytes(0x80, 4, 0x95, u32(4), u32(0), 0x8c, 1, 'a', 0x94, '.'), 'x.pt', TORCH)).toBe('a');
  // A key like this one is a key like any other.
  expect((read('}', text('__proto__'), 'K', 1, 's.') as Map<string, number>).get('__proto__')).toBe(1);
});

const proof = join(folder, 'executed');
const command = text(`touch ${proof}`);

test.each([
  ['REDUCE of os.system', ['cos\nsystem\n', command, 0x85, 'R.'], /"os.system"/],
  ['REDUCE of posix.system', ['cposix\nsystem\n', command, 0x85, 'R.'], /"posix.system"/],
  ['GLOBAL builtins.eval', ['cbuiltins\neval\n', text('1'), 0x85, 'R.'], /"builtins.eval"/],
  ['GLOBAL alone', ['c__builtin__\nexec\n.'], /"__builtin__.exec"/],
  ['STACK_GLOBAL', [0x8c, 2, 'os', 0x8c, 6, 'system', 0x93, command, 0x85, 'R.'], /"os.system"/],
  ['INST', ['(', command, 'ios\nsystem\n.'], /opcode INST/],
  ['OBJ', ['(cos\nsystem\n', command, 'o.'], /"os.system"/],
  ['OBJ of an allowed class', ['(ccollections\nOrderedDict\n', 'o.'], /opcode OBJ/],
  ['NEWOBJ', ['ccollections\nOrderedDict\n)', 0x81, '.'], /opcode NEWOBJ/],
  ['NEWOBJ_EX', ['ccollections\nOrderedDict\n)}', 0x92, '.'], /opcode NEWOBJ_EX/],
  ['EXT1', [0x82, 1, '.'], /opcode EXT1/],
  ['EXT2', [0x83, 1, 0, '.'], /opcode EXT2/],
  ['EXT4', [0x84, 1, 0, 0, 0, '.'], /opcode EXT4/],
  ['BUILD', ['ccollections\nOrderedDict\n)R}', text('__class__'), 'K', 1, 'sb.'], /opcode BUILD/],
  ['PERSID', ['Pabc\n.'], /opcode PERSID/],
  ['an unknown opcode', [0xff, '.'], /opcode 0xff/],
  ['a harmless class that is not on the list', ['cnumpy\nndarray\n.'], /"numpy.ndarray"/],
  ['an attribute of an allowed module', ['ctorch._utils\n_import_dotted_name\n.'], /_import_dotted_name/],
  ['a storage that is called', ['ctorch\nFloatStorage\n)R.'], /a call of torch.FloatStorage/],
  [
    'OrderedDict with arguments',
    ['ccollections\nOrderedDict\n', 'K', 1, 0x85, 'R.'],
    /a call of collections/,
  ],
  ['a call of a value', ['K', 1, ')R.'], /a call of a value/],
] as const)('refused by name: %s', (_, parts, message) => {
  const error = refusal(...parts);
  expect(error.code).toBe('PICKLE_REFUSED');
  expect(error.message).toMatch(message);
  expect(error.message).not.toContain('\n');
  // The same inside a file.
  const path = join(folder, 'evil.pt');
  writeTorchFile(path, bytes(0x80, 2, ...parts));
  expect(thrown(() => TorchFile.open(path)).code).toBe('PICKLE_REFUSED');
  expect(existsSync(proof)).toBe(false);
});

test.each([
  ['cut off', ['K']],
  ['no end', ['K', 1]],
  ['an empty stack', ['.']],
  ['values left over', ['K', 1, 'K', 2, '.']],
  ['a mark as a value', ['(.']],
  ['no mark', ['K', 1, 't.']],
  ['a text beyond the end', ['X', u32(0xffffffff), 'a.']],
  ['a name without an end', ['cos']],
  ['an unknown memo', ['h', 9, '.']],
  ['an odd dict', ['}(', 'K', 1, 'u.']],
  ['a list as a key', ['}]K', 1, 's.']],
  ['items of a number', ['K', 1, 'K', 2, 'K', 3, 's.']],
  ['append to a dict', ['}K', 1, 'a.']],
  ['a huge number', [0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 0x7f, '.']],
  ['a storage without its parts', ['(', text('storage'), 'tQ.']],
  ['a protocol from the future', [0x80, 9, '.']],
] as const)('no sense: %s', (_, parts) => {
  expect(refusal(...parts).code).toBe('PICKLE_INVALID');
});

/** The pickle of one float32 tensor over storage `0` of `elements`. */
function tensorPickle(elements: number, offset: number, size: number[], stride: number[]): Uint8Array {
  const counts = (values: number[]) => bytes('(', ...values.map((value) => bytes('J', u32(value))), 't');
  return bytes(
    0x80,
    2,
    'ctorch._utils\n_rebuild_tensor_v2\n((',
    text('storage'),
    'ctorch\nFloatStorage\n',
    text('0'),
    text('cpu'),
    bytes('J', u32(elements)),
    'tQ',
    bytes('J', u32(offset)),
    counts(size),
    counts(stride),
    0x89,
    'ccollections\nOrderedDict\n)RtR.',
  );
}

const floats = (count: number) => new Uint8Array(Float32Array.from({ length: count }, (_, i) => i).buffer);

test('tensors are views of storages, of any strides', () => {
  const path = join(folder, 'tensor.pt');
  const load = (...args: Parameters<typeof tensorPickle>) => {
    writeTorchFile(path, tensorPickle(...args), { 0: floats(args[0]) });
    using file = TorchFile.open(path);
    const { value } = file;
    if (!(value instanceof PickledTensor)) throw new Error('no tensor');
    return scope(() => file.tensor(value).tolist());
  };
  expect(load(6, 0, [2, 3], [3, 1])).toEqual([
    [0, 1, 2],
    [3, 4, 5],
  ]);
  expect(load(6, 1, [2, 2], [1, 2])).toEqual([
    [1, 3],
    [2, 4],
  ]);
  expect(load(6, 5, [], [])).toBe(5);
  expect(load(6, 0, [0, 3], [3, 1])).toEqual([]);
});

test.each([
  ['beyond the storage', [6, 2, [2, 3], [3, 1]]],
  ['strides beyond it', [6, 0, [2, 3], [5, 1]]],
  ['much memory from a small storage', [6, 0, [2 ** 30], [0]]],
  ['as many strides', [6, 0, [2], [1, 1]]],
  ['negative size', [6, 0, [0xffffffff], [1]]],
] as const)('a tensor is refused: %s', (_, args) => {
  const [elements, offset, size, stride] = args;
  const pickle = tensorPickle(elements, offset, [...size], [...stride]);
  expect(thrown(() => readPickle(pickle, 'x.pt', TORCH)).code).toBe('PICKLE_INVALID');
});

test('storages of another size, missing or with a wrong checksum are refused', () => {
  const path = join(folder, 'storage.pt');
  const open = (): void => {
    using file = TorchFile.open(path);
    if (file.value instanceof PickledTensor) file.tensor(file.value);
  };
  const pickle = tensorPickle(6, 0, [6], [1]);
  const wrong: Record<string, Uint8Array>[] = [{ 0: floats(5) }, { 1: floats(6) }];
  for (const data of wrong) {
    writeTorchFile(path, pickle, data);
    expect(thrown(open).message).toMatch(/storage 0 (has 20 bytes|is missing)/);
  }
  const zip = storedZip({ 'archive/data.pkl': pickle, 'archive/data/0': floats(6) });
  zip[zip.indexOf(floats(6)) + 4]! ^= 1;
  writeFileSync(path, zip);
  expect(thrown(open)).toMatchObject({
    code: 'TORCH_FILE_INVALID',
    message: expect.stringContaining('checksum'),
  });
});

test('files that are no zip of torch.save', () => {
  const path = join(folder, 'file.pt');
  const open = (content: Uint8Array): string => {
    writeFileSync(path, content);
    return thrown(() => TorchFile.open(path)).message;
  };
  expect(open(bytes(0x80, 2, 0x8a, 10))).toMatch(/before PyTorch 1.6; .*torch.save\(torch.load/);
  expect(open(bytes('hello'))).toContain('no zip');
  expect(open(bytes(''))).toContain('no zip');
  const good = storedZip({ 'archive/data.pkl': bytes(0x80, 2, 'N.') });
  expect(open(good.subarray(0, good.length - 1))).toContain('its end is missing');
  expect(open(storedZip({ 'a/data.pkl': bytes('N.'), 'b/data.pkl': bytes('N.') }))).toContain('2 data.pkl');
  expect(open(storedZip({ 'a/data.pkl': bytes('N.') }, 8))).toContain('compressed');
  expect(open(storedZip({ 'a/data.pkl': bytes(0x80, 2, 'N.'), 'a/byteorder': bytes('big') }))).toContain(
    'byte order',
  );
  const far = Buffer.from(good);
  far.writeUInt32LE(0x7fffffff, far.length - 22 + 16);
  expect(open(far)).toContain('beyond the end');
  const claims = Buffer.from(good);
  const directory = claims.readUInt32LE(claims.length - 6);
  claims.writeUInt32LE(0x7ffffff0, directory + 20);
  claims.writeUInt32LE(0x7ffffff0, directory + 24);
  expect(open(claims)).toContain('claims 2147483632 bytes');
  writeFileSync(path, good);
  truncateSync(path, good.length);
  using file = TorchFile.open(path);
  expect(file.value).toBeNull();
  rmSync(path);
  expect(thrown(() => TorchFile.open(path)).code).toBe('FILE_NOT_FOUND');
});

test('whatever bytes come, it ends with a value or an error of its own', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (content) => {
      try {
        readPickle(content, 'x.pt', TORCH);
      } catch (error) {
        expect((error as { code?: string }).code).toMatch(/^PICKLE_/);
      }
    }),
    { numRuns: 2000 },
  );
  const whole = storedZip({ 'archive/data.pkl': tensorPickle(6, 0, [6], [1]), 'archive/data/0': floats(6) });
  const path = join(folder, 'fuzz.pt');
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.nat(255), (at, value) => {
      const changed = Buffer.from(whole);
      changed[at] = value;
      writeFileSync(path, changed);
      try {
        using file = TorchFile.open(path);
        if (file.value instanceof PickledTensor) {
          const { value } = file;
          scope(() => void file.tensor(value));
        }
      } catch (error) {
        expect((error as { code?: string }).code).toMatch(/^(PICKLE|TORCH_FILE)_/);
      }
    }),
    { numRuns: 500 },
  );
});
