import type { CraftError } from '@craft-ft/torch';
import { expect, test } from 'vitest';
import { formatHistory, parseHistory, type RetentionRecord } from './record.js';

const record = (step: number): RetentionRecord => ({
  step,
  task_loss: 0.1 + 0.2,
  retention_loss: 1 / 3,
  epsilon: 1e-300,
  lambda_used: 0,
  lambda: 123456.789,
  grad_dot: -Math.PI,
  grad_cos: -1e-17,
  grad_conflict: 1,
});

test('reading back gives the same bits', () => {
  const records = [record(0), record(5), record(10)];
  expect(parseHistory(formatHistory(records), 'here')).toEqual(records);
  expect(parseHistory(formatHistory([]), 'here')).toEqual([]);
});

test('the columns', () => {
  expect(formatHistory([]).trim()).toBe(
    'step,task_loss,retention_loss,epsilon,lambda_used,lambda,grad_dot,grad_cos,grad_conflict',
  );
});

test.each([
  ['step,lambda\n0,1\n', 'here.csv: line 1: expected the columns step,task_loss'],
  ['', 'here.csv: line 1'],
  [`${formatHistory([record(0)])}5,1,2\n`, 'here.csv: line 3: expected 9 numbers'],
  [formatHistory([record(0)]).replace('123456.789', 'NaN'), 'here.csv: line 2: expected 9 numbers'],
  [formatHistory([record(0)]).replace('123456.789', ''), 'here.csv: line 2: expected 9 numbers'],
])('%j is refused with its line', (text, message) => {
  let error: unknown;
  try {
    parseHistory(text, 'here.csv');
  } catch (thrown) {
    error = thrown;
  }
  expect((error as CraftError | undefined)?.code).toBe('CRAFT_STATE_INVALID');
  expect((error as CraftError).message).toContain(message);
});
