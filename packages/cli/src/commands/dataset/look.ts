import { z } from 'zod';
import { subcommandOf } from '../../command-of.js';
import { jsonField, leadingRoot, sourceFields, sourceFolder, validateSource } from './fields.js';
import { curveLines, episodeTable, round, table } from './tables.js';

export const info = subcommandOf({
  name: 'dataset info',
  about: 'What a dataset holds: version, robot, episodes, features, tasks. Reads the metadata only.',
  leading: leadingRoot,
  schema: z.strictObject({ ...sourceFields, ...jsonField }),
  validate: validateSource,
  run: async (config, output) => {
    const { summarizeDataset } = await import('@craft-ft/datasets/tools');
    const summary = await summarizeDataset(await sourceFolder(config));
    if (config.json) {
      output.out(`${JSON.stringify(summary, null, 2)}\n`);
      return 0;
    }
    const [shortest, median, longest] = summary.lengths;
    const lines = [
      `${summary.root}: LeRobot ${summary.version}, robot ${summary.robotType ?? 'not named'}, ${summary.fps} fps`,
      `${summary.episodes} episodes, ${summary.frames} frames, ${round(summary.seconds)} s; ` +
        `an episode has ${shortest} to ${longest} frames, median ${median}`,
      '',
      ...table([
        ['feature', 'dtype', 'shape'],
        ...Object.entries(summary.features).map(([key, { dtype, shape }]) => [
          key,
          dtype,
          `[${shape.join(', ')}]`,
        ]),
      ]),
      '',
      ...table([
        ['task', 'episodes'],
        ...Object.entries(summary.tasks).map(([task, count]) => [task, String(count)]),
      ]),
    ];
    output.out(`${lines.join('\n')}\n`);
    return 0;
  },
});

export const stats = subcommandOf({
  name: 'dataset stats',
  about:
    'Statistics of every feature, as they are in the dataset or, with --recompute, computed anew from the data.',
  leading: leadingRoot,
  schema: z.strictObject({
    ...sourceFields,
    episodes: z
      .array(z.int().min(0))
      .min(1)
      .nullable()
      .default(null)
      .describe('Of these episodes only. null: all.'),
    recompute: z
      .boolean()
      .default(false)
      .describe(
        'Compute the statistics of numbers from all data and write them, keeping the originals as .bak.',
      ),
    ...jsonField,
  }),
  validate: (config) => [
    ...validateSource(config),
    ...(config.recompute && config.episodes !== null
      ? [
          {
            field: 'episodes',
            found: config.episodes,
            message: 'expected null with recompute, which needs all episodes',
          },
        ]
      : []),
  ],
  run: async (config, output) => {
    const root = await sourceFolder(config);
    const { LeRobotDatasetMetadata } = await import('@craft-ft/datasets');
    const { recomputeStats } = await import('@craft-ft/datasets/tools');
    if (config.recompute) await recomputeStats(root);
    const metadata = await LeRobotDatasetMetadata.load(root);
    const all = await metadata.stats(config.episodes ?? undefined);
    if (config.json) {
      output.out(`${JSON.stringify(all, null, 2)}\n`);
      return 0;
    }
    const rows = Object.entries(all).flatMap(([key, { min, max, mean, std }]) =>
      mean.map((_, i) => [
        mean.length === 1 ? key : `${key}[${i}]`,
        ...[min, max, mean, std].map((values) => String(round(values[i]!))),
      ]),
    );
    output.out(`${table([['feature', 'min', 'max', 'mean', 'std'], ...rows]).join('\n')}\n`);
    return 0;
  },
});

export const show = subcommandOf({
  name: 'dataset show',
  about:
    'Table of the episodes; with --episode, its states and actions as curves in the terminal and, with --png, pictures of its ' +
    'cameras.',
  leading: leadingRoot,
  schema: z.strictObject({
    ...sourceFields,
    episode: z.int().min(0).nullable().default(null).describe('Episode to draw. null: the table of all.'),
    png: z
      .string()
      .min(1)
      .nullable()
      .default(null)
      .describe('File for a contact sheet of the episode: one row per camera, time from left to right.'),
    png_frames: z.int().min(1).max(100).default(8).describe('Pictures per camera on the contact sheet.'),
  }),
  validate: (config) => [
    ...validateSource(config),
    ...(config.png !== null && config.episode === null
      ? [
          {
            field: 'png',
            found: config.png,
            message: 'expected together with episode: a sheet shows one episode',
          },
        ]
      : []),
  ],
  run: async (config, output) => {
    const root = await sourceFolder(config);
    const { LeRobotDatasetMetadata } = await import('@craft-ft/datasets');
    const tools = await import('@craft-ft/datasets/tools');
    if (config.episode === null) {
      output.out(`${episodeTable(await LeRobotDatasetMetadata.load(root)).join('\n')}\n`);
      return 0;
    }
    const curves = await tools.episodeCurves(root, config.episode);
    output.out(`${curveLines(curves, output.columns, tools.sparkline).join('\n')}\n`);
    if (config.png === null) return 0;
    const { width, height, cameras } = await tools.writeContactSheet(root, config.episode, config.png, {
      frames: config.png_frames,
    });
    output.out(`${config.png}: ${width}×${height}, ${cameras.join(', ')}\n`);
    return 0;
  },
});
