import { expect, test } from 'vitest';
import { Player } from './player.js';

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
