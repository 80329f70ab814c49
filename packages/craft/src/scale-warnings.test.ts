import { expect, test } from 'vitest';
import { craftConfigSchema } from './config.js';
import { scaleWarnings } from './scale-warnings.js';

const warnings = (fields: object, start: number) =>
  scaleWarnings(craftConfigSchema.parse(fields), start).join();

test('an absolute ε far from the loss it bounds', () => {
  expect(warnings({ epsilon_start: 1 }, 0.05)).toContain('epsilon_mode=relative');
  expect(warnings({ epsilon_start: 0.01 }, 0.5)).toContain('epsilon_mode=relative');
  expect(warnings({ epsilon_start: 0.1 }, 0.15)).toBe('');
  expect(warnings({}, 123)).toBe('');
});

test('the distance from a teacher may begin at 0, then only a relative ε is wrong', () => {
  const hidden = { retention_mode: 'hidden', anchor_cache_dir: 'cache' };
  expect(warnings(hidden, 4.5e-8)).toBe('');
  expect(warnings({ ...hidden, epsilon_start: 0.1 }, 0)).toBe('');
  expect(warnings(hidden, 0.6)).toContain('epsilon_mode=relative');
  expect(warnings({ ...hidden, epsilon_mode: 'relative' }, 4.5e-8)).toContain('epsilon_mode=absolute');
  expect(warnings({ ...hidden, epsilon_mode: 'relative' }, 0.6)).toBe('');
});
