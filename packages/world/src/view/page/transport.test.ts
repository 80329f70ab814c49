import { expect, test } from 'vitest';
import { keyAction } from './transport.js';

/** An element, as far as its name goes. */
const focused = (name: string) => ({ matches: (selector: string) => selector.split(', ').includes(name) });

test('fields have the keys for themselves, a button only the space bar', () => {
  const actions = (name: string) =>
    [' ', 'ArrowLeft', 'ArrowRight', 'Home', 'End', 'a'].map((key) => keyAction(key, focused(name)));
  expect(actions('body')).toEqual(['play', 'back', 'forward', 'start', 'end', null]);
  expect(actions('button')).toEqual([null, 'back', 'forward', 'start', 'end', null]);
  for (const field of ['input', 'select']) expect(actions(field)).toEqual(Array(6).fill(null));
});
