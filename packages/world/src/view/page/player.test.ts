import { expect, test } from 'vitest';
import { keyAction, Player, type Shown, verdict } from './player.js';

test('plays at its speed, stops at the end, and begins anew from there', () => {
  const player = new Player(11, 10);
  player.advance(1);
  expect(player.frame).toBe(0);
  player.play();
  player.advance(0.25);
  expect(player.frame).toBe(2);
  player.speed = 2;
  player.advance(0.2);
  expect(player.frame).toBe(6);
  player.advance(100);
  expect([player.frame, player.atEnd, player.playing]).toEqual([10, true, false]);
  player.play();
  expect([player.frame, player.playing]).toEqual([0, true]);
});

test('goes to any frame that there is, and stops there', () => {
  const player = new Player(5, 25);
  player.play();
  player.seek(3);
  expect([player.frame, player.playing]).toEqual([3, false]);
  player.seek(-2);
  expect(player.frame).toBe(0);
  player.seek(99);
  expect(player.frame).toBe(4);
});

test('one frame alone does not play', () => {
  const player = new Player(1, 25);
  player.play();
  expect(player.playing).toBe(false);
});

const shown: Shown = { task: 'place-in-red-bin', achieved: [], success: false, atEnd: false, live: false };

test('says how the task stands, and what was done instead', () => {
  expect(verdict(shown)).toEqual({ text: 'under way', kind: 'wait' });
  expect(verdict({ ...shown, achieved: ['place-in-red-bin'] })).toEqual({ text: 'success', kind: 'good' });
  expect(verdict({ ...shown, achieved: ['place-in-blue-bin'], atEnd: true })).toEqual({
    text: 'failed: time is over; done instead: place-in-blue-bin',
    kind: 'bad',
  });
  expect(verdict({ ...shown, success: true, atEnd: true }).kind).toBe('good');
  expect(verdict({ ...shown, success: null, atEnd: true }).text).toBe('end of the recording');
  expect(verdict({ ...shown, achieved: ['lift'] }).text).toBe('under way');
  expect(verdict({ ...shown, atEnd: true, live: true }).text).toBe('physics');
  expect(verdict({ ...shown, achieved: ['lift'], live: true }).text).toBe('physics; done now: lift');
});

/** An element with only a tag name. */
const focused = (name: string) => ({ matches: (selector: string) => selector.split(', ').includes(name) });

test('fields have the keys for themselves, a button only the space bar', () => {
  const actions = (name: string) =>
    [' ', 'ArrowLeft', 'ArrowRight', 'Home', 'End', 'a'].map((key) => keyAction(key, focused(name)));
  expect(actions('body')).toEqual(['play', 'back', 'forward', 'start', 'end', null]);
  expect(actions('button')).toEqual([null, 'back', 'forward', 'start', 'end', null]);
  for (const field of ['input', 'select']) expect(actions(field)).toEqual(Array(6).fill(null));
});
