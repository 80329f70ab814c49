import { expect, test } from 'vitest';
import { type Shown, verdict } from './verdict.js';

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
