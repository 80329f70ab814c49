import { expect, test } from 'vitest';
import { formatProblem } from '../config/check.js';
import { listFields } from '../config/fields.js';
import {
  imageTransformsConfigSchema,
  readImageTransform,
  validateImageTransforms,
} from './transform-config.js';

const problemsOf = (tfs: object) =>
  validateImageTransforms(imageTransformsConfigSchema.parse({ tfs })).map(formatProblem);
const kwargsOf = (type: string, kwargs: object) =>
  readImageTransform(imageTransformsConfigSchema.parse({ tfs: { a: { type, kwargs } } }).tfs.a!, 'a');

test("defaults are LeRobot's", () => {
  const config = imageTransformsConfigSchema.parse({});
  expect(config).toEqual({
    enable: false,
    max_num_transforms: 3,
    random_order: false,
    tfs: {
      brightness: { weight: 1, type: 'ColorJitter', kwargs: { brightness: [0.8, 1.2] } },
      contrast: { weight: 1, type: 'ColorJitter', kwargs: { contrast: [0.8, 1.2] } },
      saturation: { weight: 1, type: 'ColorJitter', kwargs: { saturation: [0.5, 1.5] } },
      hue: { weight: 1, type: 'ColorJitter', kwargs: { hue: [-0.05, 0.05] } },
      sharpness: { weight: 1, type: 'SharpnessJitter', kwargs: { sharpness: [0.5, 1.5] } },
      affine: { weight: 1, type: 'RandomAffine', kwargs: { degrees: [-5, 5], translate: [0.05, 0.05] } },
    },
  });
  expect(validateImageTransforms(config)).toEqual([]);
});

test('it lists as four flags', () => {
  const fields = listFields(imageTransformsConfigSchema).map(({ path, type }) => `${path}: ${type}`);
  expect(fields).toEqual([
    'enable: true|false',
    'max_num_transforms: integer ≥ 1',
    'random_order: true|false',
    'tfs: {name: {weight, type, kwargs}}',
  ]);
});

test('single numbers are half widths; a range that never changes anything draws nothing', () => {
  expect(kwargsOf('ColorJitter', { brightness: 0.3, contrast: 3, hue: 0.1, saturation: [1, 1] })).toEqual({
    ranges: {
      type: 'ColorJitter',
      brightness: [0.7, 1.3],
      contrast: [0, 4],
      saturation: null,
      hue: [-0.1, 0.1],
    },
  });
  expect(kwargsOf('RandomAffine', { degrees: 5, shear: 2 })).toEqual({
    ranges: { type: 'RandomAffine', degrees: [-5, 5], translate: null, scale: null, shear: [-2, 2] },
  });
});

test('wrong arguments are named', () => {
  expect(problemsOf({ hue: { type: 'ColorJitter', kwargs: { hue: [-0.7, 0.1] } } })).toEqual([
    'dataset.image_transforms.tfs.hue.kwargs.hue=[-0.7,0.1]: expected lowest <= highest, within -0.5 to 0.5',
  ]);
  expect(problemsOf({ a: { type: 'RandomAffine', kwargs: { degrees: 'x', translate: [0.1] } } })).toEqual([
    'dataset.image_transforms.tfs.a.kwargs.degrees=x: expected arguments of RandomAffine (degrees, translate, scale, shear), ' +
      'numbers or [low, high]',
    'dataset.image_transforms.tfs.a.kwargs.translate=[0.1]: expected arguments of RandomAffine (degrees, translate, scale, ' +
      'shear), numbers or [low, high]',
  ]);
  expect(problemsOf({ a: { type: 'SharpnessJitter', kwargs: { sharp: 1 } } })).toHaveLength(1);
  expect(() => imageTransformsConfigSchema.parse({ tfs: { a: { type: 'GaussianBlur' } } })).toThrow();
});
