import type { Composed } from '@craft-ft/datasets/tools';
import { z } from 'zod';
import type { Output } from '../../command.js';
import { subcommandOf } from '../../command-of.js';
import { leadingRoot, outputField, sourceFields, sourceFolder, validateSource } from './fields.js';

const episodeList = z.array(z.int().min(0)).min(1);

function say(output: Output, { root, episodes, frames, values, videoFrames }: Composed): void {
  const videos = videoFrames > 0 ? ` and ${videoFrames} video frames` : '';
  output.out(
    `${root}: ${episodes} episodes, ${frames} frames; ${values} numbers${videos} compared with the source\n`,
  );
}

export const convert = subcommandOf({
  name: 'dataset convert',
  about:
    'Writes an older dataset (v2.0, v2.1) in the format v3.0 and compares every number and every encoded video frame with the source, which is ' +
    'only read. A v3.0 dataset is written anew, its indices and video windows put right.',
  leading: leadingRoot,
  schema: z.strictObject({
    ...sourceFields,
    ...outputField,
    episodes: episodeList.nullable().default(null).describe('Episodes to take over, e.g. [0,1]. null: all.'),
  }),
  validate: validateSource,
  run: async (config, output) => {
    const { convertDataset } = await import('@craft-ft/datasets/tools');
    const options = config.episodes === null ? {} : { episodes: config.episodes };
    say(output, await convertDataset(await sourceFolder(config), config.output, options));
    return 0;
  },
});

export const merge = subcommandOf({
  name: 'dataset merge',
  about: 'Writes several datasets of the same features as one; equal tasks become one.',
  leading: { field: 'roots', usage: 'FOLDER FOLDER ...' },
  schema: z.strictObject({
    roots: z
      .array(z.string().min(1))
      .min(2)
      .describe('Folders of the datasets; may be given as the first words.'),
    ...outputField,
  }),
  run: async ({ roots, output: folder }, output) => {
    const { mergeDatasets } = await import('@craft-ft/datasets/tools');
    say(output, await mergeDatasets(roots, folder));
    return 0;
  },
});

export const split = subcommandOf({
  name: 'dataset split',
  about: 'Writes parts of a dataset as datasets of their own, in folders of --output named after the parts.',
  leading: leadingRoot,
  schema: z.strictObject({
    ...sourceFields,
    ...outputField,
    splits: z
      .record(z.string(), z.union([z.number().positive(), episodeList]))
      .describe(
        'Shares of the episodes, e.g. {"train": 0.8, "val": 0.2}, or lists, e.g. {"train": [0,1], "val": [2]}.',
      ),
  }),
  validate: validateSource,
  run: async (config, output) => {
    const { splitDataset } = await import('@craft-ft/datasets/tools');
    const parts = await splitDataset(await sourceFolder(config), config.output, config.splits);
    for (const part of Object.values(parts)) say(output, part);
    return 0;
  },
});

export const deleteEpisodes = subcommandOf({
  name: 'dataset delete-episodes',
  about: 'Writes a dataset without some episodes, the others numbered anew. The source stays as it is.',
  leading: leadingRoot,
  schema: z.strictObject({
    ...sourceFields,
    ...outputField,
    episodes: episodeList.describe('Episodes to leave out, e.g. [3,17].'),
  }),
  validate: validateSource,
  run: async (config, output) => {
    const tools = await import('@craft-ft/datasets/tools');
    say(output, await tools.deleteEpisodes(await sourceFolder(config), config.output, config.episodes));
    return 0;
  },
});
