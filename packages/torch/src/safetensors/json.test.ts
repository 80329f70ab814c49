import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JsonError, parseStrictJson, quote } from './json.js';

function jsonParse(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

describe('parseStrictJson', () => {
  it('agrees with JSON.parse on valid JSON', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5, stringUnit: 'grapheme' }), fc.nat(3), (text, indent) => {
        const spaced = JSON.stringify(JSON.parse(text), null, indent);
        expect(parseStrictJson(spaced)).toEqual(JSON.parse(spaced));
      }),
    );
  });

  it('accepts no text that JSON.parse refuses, and refuses the rest only for duplicate keys or surrogates', () => {
    const piece = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"a"',
      '"b"',
      '"\\n"',
      '"\\ud83d"',
      ' ',
      '\n',
      '1',
      '-0.5e3',
      '01',
      'true',
      'null',
      'nul',
      "'",
      '\u0001',
      '\ufeff',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const text = pieces.join('');
        const expected = jsonParse(text);
        try {
          expect({ value: parseStrictJson(text) }).toEqual(expected);
        } catch (error) {
          if (!(error instanceof JsonError)) throw error;
          if (expected !== undefined) expect(error.message).toMatch(/occurs twice|surrogate/);
        }
      }),
      { numRuns: 5000 },
    );
  });

  it('refuses duplicate keys at every level, also when one is escaped', () => {
    expect(() => parseStrictJson('{"a":1,"a":2}')).toThrow(/"a" occurs twice/);
    expect(() => parseStrictJson('[{"x":{"a":1,"\\u0061":2}}]')).toThrow(/"a" occurs twice/);
    expect(parseStrictJson('{"a":{"a":1},"b":{"a":2}}')).toEqual({ a: { a: 1 }, b: { a: 2 } });
  });

  it('keeps __proto__ as a key like any other, and finds what looks like one in strings harmless', () => {
    const value = parseStrictJson('{"__proto__":2,"a":"{\\"b\\":1,\\"b\\":2}","b":["a","a"]}') as object;
    expect(Object.entries(value)).toEqual([
      ['__proto__', 2],
      ['a', '{"b":1,"b":2}'],
      ['b', ['a', 'a']],
    ]);
    expect(() => parseStrictJson('{"__proto__":1,"__proto__":2}')).toThrow(/"__proto__" occurs twice/);
  });

  it('refuses deep nesting instead of overflowing the stack', () => {
    expect(() => parseStrictJson('['.repeat(1e6))).toThrow(JsonError);
  });

  it('with sizes, lets whole numbers be written only as such', () => {
    for (const text of ['0', '7', '9007199254740991', '-1', '0.5', '"1e3"'])
      expect(parseStrictJson(`[${text}]`, true)).toEqual([JSON.parse(text)]);
    for (const text of ['1.0', '1e3', '0.5e1', '9e2']) {
      expect(() => parseStrictJson(`[${text}]`, true), text).toThrow(/not written as a whole one/);
      expect(parseStrictJson(`[${text}]`)).toEqual([Number(text)]);
    }
  });

  it('takes strings of megabytes', () => {
    const long = JSON.stringify({ a: 'x\n'.repeat(3e6), b: 'y'.repeat(5e6) });
    expect(parseStrictJson(long)).toEqual(JSON.parse(long));
  });
});

it('quotes names on one line', () => {
  expect(quote('a\nb"c')).toBe('"a\\nb\\"c"');
  expect(quote('x'.repeat(1e6)).length).toBeLessThan(130);
});
