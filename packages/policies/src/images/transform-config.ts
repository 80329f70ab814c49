import { z } from 'zod';
import type { Problem } from '../config/check.js';

/** The supported values of LeRobot's `ImageTransformConfig.type`. */
const TYPES = ['Identity', 'ColorJitter', 'SharpnessJitter', 'RandomAffine'] as const;

const entrySchema = z.strictObject({
  weight: z.number().min(0).default(1),
  type: z.enum(TYPES).default('Identity'),
  kwargs: z.record(z.string(), z.unknown()).default({}),
});
/** One transform that may be drawn. */
type ImageTransformEntry = z.infer<typeof entrySchema>;

const jitter = (name: string, low: number, high: number, type = 'ColorJitter'): ImageTransformEntry => ({
  weight: 1,
  type: type as ImageTransformEntry['type'],
  kwargs: { [name]: [low, high] },
});

/** Random changes of camera images in training. Names and defaults are LeRobot's `ImageTransformsConfig`. */
export const imageTransformsConfigSchema = z.strictObject({
  enable: z
    .boolean()
    .default(false)
    .describe('Change camera images at random in training, so that the policy does not depend on the light.'),
  max_num_transforms: z
    .int()
    .min(1)
    .default(3)
    .describe('How many of tfs are applied to each image (all of them, if there are fewer).'),
  random_order: z
    .boolean()
    .default(false)
    .describe('Apply them in the order they were drawn in, instead of the order of tfs.'),
  tfs: z
    .record(z.string(), entrySchema)
    .default({
      brightness: jitter('brightness', 0.8, 1.2),
      contrast: jitter('contrast', 0.8, 1.2),
      saturation: jitter('saturation', 0.5, 1.5),
      hue: jitter('hue', -0.05, 0.05),
      sharpness: jitter('sharpness', 0.5, 1.5, 'SharpnessJitter'),
      affine: { weight: 1, type: 'RandomAffine', kwargs: { degrees: [-5, 5], translate: [0.05, 0.05] } },
    })
    .meta({
      description:
        'The transforms to draw from, without replacement and in proportion to their weights (0: never). type is ' +
        'ColorJitter, SharpnessJitter, RandomAffine or Identity, kwargs are the ranges of its parameters as in torchvision.',
      typeText: '{name: {weight, type, kwargs}}',
      defaultText: "LeRobot's six: brightness, contrast, saturation, hue, sharpness, affine",
    }),
});
export type ImageTransformsConfig = z.infer<typeof imageTransformsConfigSchema>;

const number = z.number();

/** A range [low, high]; a single number is its half width around `center`. Null if the range is `center` alone. */
const around = (center: number, lowest: number, highest: number) =>
  z
    .union([number.min(0), z.tuple([number, number])])
    .transform((value): [number, number] =>
      typeof value === 'number' ? [Math.max(center - value, lowest), center + value] : value,
    )
    .refine(([low, high]) => lowest <= low && low <= high && high <= highest, {
      error: `expected lowest <= highest, within ${lowest} to ${highest}`,
    })
    .nullable()
    .default(null)
    .transform((range) => (range?.[0] === center && range[1] === center ? null : range));

const factor = around(1, 0, Number.POSITIVE_INFINITY);
const degrees = z
  .union([number.min(0), z.tuple([number, number])])
  .transform((value): [number, number] => (typeof value === 'number' ? [-value, value] : value));
const share = number.min(0).max(1);

/** The arguments of each type, as torchvision's classes check them. */
const KWARGS = {
  Identity: z.strictObject({}),
  ColorJitter: z.strictObject({
    brightness: factor,
    contrast: factor,
    saturation: factor,
    hue: around(0, -0.5, 0.5),
  }),
  SharpnessJitter: z.strictObject({ sharpness: factor }),
  RandomAffine: z.strictObject({
    degrees,
    translate: z.tuple([share, share]).nullable().default(null),
    scale: z
      .tuple([number.gt(0), number.gt(0)])
      .nullable()
      .default(null),
    shear: z
      .union([degrees, z.tuple([number, number, number, number])])
      .nullable()
      .default(null),
  }),
} as const;

/** A transform with the ranges its parameters are drawn from. */
export type ImageTransformRanges = {
  [T in keyof typeof KWARGS]: { type: T } & z.infer<(typeof KWARGS)[T]>;
}[keyof typeof KWARGS];

/**
 * Reads the arguments of one transform.
 *
 * @param field dotted name of the entry, for problems
 */
export function readImageTransform(
  entry: ImageTransformEntry,
  field: string,
): { ranges: ImageTransformRanges } | { problems: Problem[] } {
  const parsed = KWARGS[entry.type].safeParse(entry.kwargs);
  if (parsed.success) return { ranges: { type: entry.type, ...parsed.data } as ImageTransformRanges };
  const known = Object.keys(KWARGS[entry.type].shape).join(', ') || 'none';
  const problems = parsed.error.issues.map(({ code, path, message }): Problem => {
    const below = path.length === 0 ? '' : `.${String(path[0])}`;
    return {
      field: `${field}.kwargs${below}`,
      found: path.length === 0 ? entry.kwargs : entry.kwargs[String(path[0])],
      message:
        code === 'custom'
          ? message
          : `expected arguments of ${entry.type} (${known}), numbers or [low, high]`,
    };
  });
  return { problems };
}

/** Checks the arguments of each image transform, which the schema leaves open. */
export function validateImageTransforms(
  config: ImageTransformsConfig,
  field = 'dataset.image_transforms',
): Problem[] {
  return Object.entries(config.tfs).flatMap(([name, entry]) => {
    const read = readImageTransform(entry, `${field}.tfs.${name}`);
    return 'problems' in read ? read.problems : [];
  });
}
