import type { Problem } from '@craft-ft/policies/config';
import { imageTransformsConfigSchema, validateImageTransforms } from '@craft-ft/policies/config';
import { z } from 'zod';

const episodeList = z.array(z.int().min(0)).min(1).nullable().default(null);

/** Which recorded episodes to train on. Names and defaults are LeRobot's `DatasetConfig`. */
export const datasetConfigSchema = z.strictObject({
  repo_id: z
    .string()
    .min(1)
    .describe(
      'Name of the dataset, as user/name. It names the run and, when root is not given, the folder below ' +
        '$HF_LEROBOT_HOME (default ~/.cache/huggingface/lerobot) where the dataset lies.',
    ),
  root: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      'Folder of the dataset (the one that holds meta/, data/ and videos/). null: looked up from repo_id. ' +
        'Formats 2.0, 2.1 and 3.0 are read as they are.',
    ),
  episodes: episodeList.describe(
    'Episodes to use, by their index in the dataset, e.g. [28,29]. null: all. Only the files of these episodes have to ' +
      'exist, and the statistics for normalisation of a 2.1 dataset are those of these episodes.',
  ),
  exclude_episodes: episodeList.describe('Episodes to leave out of those chosen by episodes. null: none.'),
  streaming: z
    .boolean()
    .default(false)
    .describe(
      'Read the dataset file by file through a shuffle buffer of 1000 frames instead of holding its numbers in memory. The ' +
        'order is less random; resuming is exact all the same.',
    ),
  mixture: z
    .array(
      z.strictObject({
        repo_id: z.string().min(1),
        root: z.string().min(1).nullable().default(null),
        episodes: episodeList,
        weight: z.number().gt(0).default(1),
      }),
    )
    .nullable()
    .default(null)
    .meta({
      description:
        'Further datasets to train on together with this one, for joint training or replay; features must have the same shapes. ' +
        'weight: how often each is drawn from, relative to this dataset, whose weight is 1.',
      typeText: '[{repo_id, root, episodes, weight}] or null',
    }),
  revision: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      "Branch, tag or commit on the Hugging Face Hub. null: the tag of the dataset's format (v3.0, v2.1, v2.0), else main.",
    ),
  cameras: z
    .array(z.string().min(1))
    .nullable()
    .default(null)
    .describe(
      'Cameras that a new policy sees, by policy key. null: all of the dataset; []: none, training from the numbers alone.',
    ),
  image_size: z
    .tuple([z.int().min(8), z.int().min(8)])
    .nullable()
    .default(null)
    .describe(
      'Height and width of the images that a new policy sees; frames are resized to it. null: as recorded. Smaller is much ' +
        'faster: [240,320] is typical.',
    ),
  frame_cache: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      'Keep decoded camera frames, since small datasets are read many times: memory (at most 2 GiB), or a folder (0.9 MB a ' +
        'frame of 480x640). null: decode anew each time.',
    ),
  image_transforms: imageTransformsConfigSchema
    .prefault({})
    .describe('Random changes of camera images in training.'),
  use_imagenet_stats: z
    .boolean()
    .default(true)
    .describe(
      'Normalise cameras with the mean and deviation of ImageNet instead of the dataset, because image backbones are ' +
        'pretrained that way. Does nothing for a policy without image inputs.',
    ),
});
export type DatasetConfig = z.infer<typeof datasetConfigSchema>;

/** Rules between the fields of a dataset configuration. */
export function validateDataset(
  config: Pick<DatasetConfig, 'episodes' | 'exclude_episodes'> & Partial<DatasetConfig>,
): Problem[] {
  const problems: Problem[] =
    config.image_transforms === undefined ? [] : validateImageTransforms(config.image_transforms);
  if (config.streaming && config.mixture !== null) {
    problems.push({
      field: 'dataset.streaming',
      found: true,
      message: 'expected false with dataset.mixture: a mixture is loaded',
      related: ['dataset.mixture'],
    });
  }
  const { episodes, exclude_episodes: excluded } = config;
  if (episodes !== null && new Set(episodes).size < episodes.length) {
    problems.push({
      field: 'dataset.episodes',
      found: episodes,
      message: 'expected every episode at most once',
    });
  }
  if (episodes !== null && excluded !== null && episodes.every((episode) => excluded.includes(episode))) {
    problems.push({
      field: 'dataset.exclude_episodes',
      found: excluded,
      message: 'leaves nothing of dataset.episodes; expected at least one episode to remain',
      related: ['dataset.episodes'],
    });
  }
  return problems;
}
