import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JsonError, JsonNumber, type JsonValue, parseStrictJson, quote } from './json.js';

/** Back to what JSON.parse gives. */
function plain(value: JsonValue): unknown {
  if (value instanceof JsonNumber) return Number(value.text);
  if (Array.isArray(value)) return value.map(plain);
  if (!(value instanceof Map)) return value;
  const entries = [...value].map(([key, item]) => [key, plain(item)] as const);
  return Object.fromEntries(entries);
}

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
        expect(plain(parseStrictJson(spaced))).toEqual(JSON.parse(spaced));
      }),
    );
  });

  it('accepts no text that JSON.parse refuses, and refuses the rest only for duplicate keys, surrogates or depth', () => {
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
          expect({ value: plain(parseStrictJson(text)) }).toEqual(expected);
        } catch (error) {
          if (!(error instanceof JsonError)) throw error;
          if (expected !== undefined) expect(error.message).toMatch(/occurs twice|surrogate|deep/);
        }
      }),
      { numRuns: 5000 },
    );
  });

  it('refuses duplicate keys at every level, also when one is escaped', () => {
    expect(() => parseStrictJson('{"a":1,"a":2}')).toThrow(/"a" occurs twice/);
    expect(() => parseStrictJson('[{"x":{"a":1,"\\u0061":2}}]')).toThrow(/"a" occurs twice/);
    expect(plain(parseStrictJson('{"a":{"a":1},"b":{"a":2}}'))).toEqual({ a: { a: 1 }, b: { a: 2 } });
  });

  it('keeps __proto__ and integer-like keys in file order', () => {
    const map = parseStrictJson('{"b":1,"__proto__":2,"1":3,"0":4}');
    expect([...(map as Map<string, JsonValue>).keys()]).toEqual(['b', '__proto__', '1', '0']);
  });

  it('refuses deep nesting instead of overflowing the stack', () => {
    expect(() => parseStrictJson('['.repeat(1e6))).toThrow(JsonError);
  });

  it('turns only plain non-negative safe integers into sizes', () => {
    const size = (text: string) => new JsonNumber(text).toSize();
    expect(['0', '7', '9007199254740991'].map(size)).toEqual([0, 7, Number.MAX_SAFE_INTEGER]);
    for (const text of ['-0', '-1', '1.0', '1e3', '9007199254740992', '9'.repeat(400)]) {
      expect(size(text), text).toBeUndefined();
    }
  });
});

it('quotes names on one line', () => {
  expect(quote('a\nb"c')).toBe('"a\\nb\\"c"');
  expect(quote('x'.repeat(1e6)).length).toBeLessThan(130);
});
