import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { craftError } from '../../test/craft-error.js';
import { fileBytes, parseBytes } from '../../test/safetensors.js';
import { MAX_HEADER_BYTES, parseHeaderLength } from './header.js';

const data = (length: number) => new Uint8Array(length);
const entry = (dtype: unknown, shape: unknown, data_offsets: unknown) => ({ dtype, shape, data_offsets });

/** The message of the refusal; fails unless it is one line with the right code and the file's name. */
function refusal(bytes: Uint8Array): string {
  const error = craftError(() => parseBytes(bytes));
  expect(error.code).toBe('SAFETENSORS_INVALID');
  expect(error.message).toMatch(/^test\.safetensors: [^\n]+$/);
  expect(error.message.length).toBeLessThan(600);
  return error.message;
}

const refusalOf = (header: unknown, length = 0) => refusal(fileBytes(JSON.stringify(header), data(length)));

describe('a valid header', () => {
  it('gives tensors in data order, metadata, and ignores trailing spaces', () => {
    const text =
      '{"b":{"dtype":"I8","shape":[],"data_offsets":[4,5]},"__metadata__":{"format":"pt"},"a":{"data_offsets":[0,4],"shape":[2,1],"dtype":"BF16"}}   ';
    const header = parseBytes(fileBytes(text, data(5)));
    expect([...header.tensors]).toEqual([
      ['a', { dtype: 'BF16', shape: [2, 1], begin: 0, end: 4 }],
      ['b', { dtype: 'I8', shape: [], begin: 4, end: 5 }],
    ]);
    expect([...header.metadata]).toEqual([['format', 'pt']]);
  });

  it('may be empty, hold empty tensors, and use any name', () => {
    expect(parseBytes(fileBytes('{}')).tensors.size).toBe(0);
    const text =
      '{"":{"dtype":"F64","shape":[0,9007199254740991],"data_offsets":[1,1]},"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"动作":{"dtype":"F8_E4M3","shape":[0],"data_offsets":[0,0]}}';
    expect([...parseBytes(fileBytes(text, data(1))).tensors.keys()]).toEqual(['动作', '__proto__', '']);
  });
});

describe('a malformed length', () => {
  it('is refused when too short, beyond the file, or beyond the limit', () => {
    for (let size = 0; size < 8; size++) expect(refusal(data(size))).toContain(`${size} bytes`);
    expect(refusal(fileBytes('{}', data(0), 3n))).toContain('claims 3 bytes');
    expect(refusal(data(8))).toContain('does not start with "{"');
    for (const length of [2n ** 31n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n]) {
      expect(refusal(fileBytes('{}', data(0), length))).toContain(`claims ${length} bytes`);
    }
  });

  it('stops exactly at the limit of the reference implementation', () => {
    const start = (length: number) => fileBytes('', data(0), BigInt(length));
    expect(parseHeaderLength(start(MAX_HEADER_BYTES), 2e8, 'f')).toBe(100_000_000);
    expect(() => parseHeaderLength(start(MAX_HEADER_BYTES + 1), 2e8, 'f')).toThrow(/limit/);
  });
});

describe('bad JSON', () => {
  it.each([
    ['', 'does not start'],
    [' {}', 'does not start'],
    ['[]', 'does not start'],
    ['\ufeff{}', 'does not start'],
    ['{', 'not valid JSON'],
    ['{}{}', 'not valid JSON'],
    ['{"a"}', 'not valid JSON'],
    ["{'a':1}", 'not valid JSON'],
    ['{}\0\0', 'not valid JSON'],
    ['{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', 'not valid JSON'],
    ['{"\\ud800":{}}', 'surrogate'],
    ['{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}', 'not written as a whole one'],
    ['{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}', 'tensor "a": "shape"'],
    ['{"a":{"dtype":"U8","shape":[9007199254740993],"data_offsets":[0,0]}}', 'tensor "a": "shape"'],
  ])('%j', (text, reason) => {
    expect(refusal(fileBytes(text))).toContain(reason);
  });

  it('includes bytes that are not UTF-8', () => {
    const bytes = new TextEncoder().encode('{"?":{}}');
    bytes[2] = 0xff;
    expect(refusal(fileBytes(bytes))).toContain('not valid UTF-8');
  });
});

describe('duplicate names', () => {
  const tensor = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}';
  it.each([
    ['tensor', `{"a":${tensor},"a":${tensor}}`],
    ['escaped tensor', `{"a":${tensor},"\\u0061":${tensor}}`],
    ['metadata', `{"__metadata__":{},"a":${tensor},"__metadata__":{}}`],
    ['metadata key', `{"__metadata__":{"k":"1","k":"2"},"a":${tensor}}`],
    ['field', '{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}'],
  ])('%s', (_, text) => {
    expect(refusal(fileBytes(text, data(1)))).toContain('occurs twice');
  });
});

describe('a wrong type', () => {
  it.each([
    ['entry', { a: [] }],
    ['entry', { a: null }],
    ['"dtype" is missing', { a: { shape: [], data_offsets: [0, 0] } }],
    ['"shape" is missing', { a: { dtype: 'F32', data_offsets: [0, 0] } }],
    ['"data_offsets" is missing', { a: { dtype: 'F32', shape: [] } }],
    ['unknown field "order"', { a: { ...entry('U8', [0], [0, 0]), order: 'F' } }],
    ['"dtype"', { a: entry(32, [0], [0, 0]) }],
    ['unknown dtype "f32"', { a: entry('f32', [0], [0, 0]) }],
    ['unknown dtype "toString"', { a: entry('toString', [0], [0, 0]) }],
    ['"shape"', { a: entry('U8', 0, [0, 0]) }],
    ['"shape"', { a: entry('U8', [-1], [0, 0]) }],
    ['"shape"', { a: entry('U8', [0.5], [0, 0]) }],
    ['"shape"', { a: entry('U8', ['0'], [0, 0]) }],
    ['"shape"', { a: entry('U8', [[0]], [0, 0]) }],
    ['"shape"', { a: entry('U8', [null], [0, 0]) }],
    ['"shape"', { a: entry('U8', [2 ** 53], [0, 0]) }],
    ['too large', { a: entry('F64', [2 ** 52], [0, 0]) }],
    ['too large', { a: entry('U8', [2 ** 32, 2 ** 32], [0, 0]) }],
    ['"data_offsets"', { a: entry('U8', [0], 0) }],
    ['"data_offsets"', { a: entry('U8', [0], [0]) }],
    ['"data_offsets"', { a: entry('U8', [0], [0, 0, 0]) }],
    ['"data_offsets"', { a: entry('U8', [0], [-1, 0]) }],
    ['"data_offsets"', { a: entry('U8', [0], [0, 1e300]) }],
  ])('%s in %j', (reason, header) => {
    const message = refusalOf(header);
    expect(message).toContain('tensor "a"');
    expect(message).toContain(reason);
  });

  it.each([null, [], 'pt', { a: 1 }, { a: null }, { a: {} }])('metadata %j', (metadata) => {
    expect(refusalOf({ __metadata__: metadata })).toContain('__metadata__');
  });

  it('shows a hostile name on one short line', () => {
    const message = refusalOf({ [`x\n${'y'.repeat(1000)}`]: null });
    expect(message).toContain('"x\\nyy');
  });
});

describe('offsets', () => {
  const u8 = (begin: number, end: number) => entry('U8', [end - begin], [begin, end]);
  it.each([
    ['end before they begin', { a: entry('U8', [1], [2, 1]) }],
    ['beyond the 4 bytes', { a: u8(0, 5) }],
    ['beyond the 4 bytes', { a: u8(2 ** 52, 2 ** 52 + 1) }],
    ['takes 3 bytes', { a: entry('U8', [3], [0, 4]) }],
    ['takes 8 bytes', { a: entry('F32', [2], [0, 4]) }],
    ['overlaps that of "a"', { a: u8(0, 3), b: u8(2, 4) }],
    ['overlaps that of "b"', { b: u8(0, 4), c: u8(0, 4) }],
    ['overlaps', { a: u8(0, 4), b: u8(2, 2) }],
    ['bytes 0 to 1 before it', { a: u8(1, 4) }],
    ['bytes 1 to 2 before it', { a: u8(0, 1), b: u8(2, 4) }],
    ['last 1 bytes', { a: u8(0, 3) }],
    ['last 4 bytes', {}],
  ])('%s', (reason, header) => {
    expect(refusalOf(header, 4)).toContain(reason);
  });
});

/** Files with tensors of random dtypes and shapes, packed as the format asks, listed in random order. */
const validFile = fc
  .record({
    tensors: fc.uniqueArray(
      fc.record({
        name: fc.string({ unit: 'grapheme' }).filter((name) => name !== '__metadata__'),
        dtype: fc.constantFrom(
          ['U8', 1] as const,
          ['BF16', 2] as const,
          ['F32', 4] as const,
          ['I64', 8] as const,
        ),
        shape: fc.array(fc.nat(4), { maxLength: 3 }),
        order: fc.double({ noNaN: true }),
      }),
      { selector: ({ name }) => name, maxLength: 6 },
    ),
    metadata: fc.option(fc.dictionary(fc.string(), fc.string())),
  })
  .map(({ tensors, metadata }) => {
    let end = 0;
    const placed = tensors.map(({ name, dtype: [dtype, bytes], shape, order }) => {
      const begin = end;
      end += shape.reduce((product, size) => product * size, bytes);
      return { order, text: `${JSON.stringify(name)}:${JSON.stringify(entry(dtype, shape, [begin, end]))}` };
    });
    const parts = placed.sort((a, b) => a.order - b.order).map(({ text }) => text);
    if (metadata !== null) parts.push(`"__metadata__":${JSON.stringify(metadata)}`);
    return { bytes: fileBytes(`{${parts.join(',')}}`, data(end)), count: tensors.length };
  });

describe('properties', () => {
  it('every well-formed file parses', () => {
    fc.assert(
      fc.property(validFile, ({ bytes, count }) => {
        expect(parseBytes(bytes).tensors.size).toBe(count);
      }),
    );
  });

  it('a file truncated at any point, or with anything appended, is refused', () => {
    fc.assert(
      fc.property(validFile, fc.uint8Array({ minLength: 1, maxLength: 9 }), ({ bytes }, more) => {
        for (let length = 0; length < bytes.length; length++) refusal(bytes.subarray(0, length));
        refusal(Buffer.concat([bytes, more]));
      }),
      { numRuns: 30 },
    );
  });

  it('a shifted offset is refused', () => {
    const shift = fc.oneof(fc.integer({ min: -8, max: 8 }), fc.maxSafeInteger()).filter((by) => by !== 0);
    const sizes = fc.array(fc.nat(5), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(sizes, fc.nat(), fc.boolean(), shift, (lengths, which, first, by) => {
        let end = 0;
        const entries = lengths.map((length) => {
          const begin = end;
          end += length;
          return entry('U8', [length], [begin, end]);
        });
        const victim = entries[which % entries.length]!.data_offsets as number[];
        victim[first ? 0 : 1]! += by;
        refusalOf(Object.fromEntries(entries.map((item, index) => [`t${index}`, item])), end);
      }),
    );
  });

  it('flipped bytes give a valid header or SAFETENSORS_INVALID, never anything else', () => {
    const flips = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(validFile, flips, ({ bytes }, changes) => {
        const broken = bytes.slice();
        for (const [at, mask] of changes) broken[at % broken.length]! ^= mask;
        let header: ReturnType<typeof parseBytes>;
        try {
          header = parseBytes(broken);
        } catch {
          refusal(broken);
          return;
        }
        let covered = 0;
        for (const { begin, end } of header.tensors.values()) {
          expect(begin).toBe(covered);
          covered = end;
        }
        expect(covered).toBeLessThanOrEqual(broken.length);
      }),
      { numRuns: 3000 },
    );
  });

  it('random bytes after a random length are refused or parsed, never anything else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.bigInt({ min: 0n, max: 80n }), (bytes, length) => {
        const broken = fileBytes(Buffer.concat([Buffer.from('{'), bytes]), data(0), length);
        try {
          parseBytes(broken);
        } catch {
          refusal(broken);
        }
      }),
    );
  });
});
