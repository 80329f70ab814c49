import { expect, test } from 'vitest';
import { withActionNames } from './dataset-features.js';
import { parsePolicyConfig } from './registry.js';

test('names of the action from the dataset, as a list or in a group', () => {
  const config = parsePolicyConfig({ type: 'pi0_fast' }, 'test');
  const source = (names: unknown) => ({ action: { dtype: 'float32', shape: [2], names } });
  const found = (names: unknown) => withActionNames(config, source(names));
  expect(found(['a', 'b'])).toMatchObject({ action_feature_names: ['a', 'b'] });
  expect(found({ motors: ['a', 'b'] })).toMatchObject({ action_feature_names: ['a', 'b'] });
  expect(found(null)).toMatchObject({ action_feature_names: null });
});
