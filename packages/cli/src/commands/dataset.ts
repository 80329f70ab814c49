import type { Composed, Finding } from '@craft-ft/datasets/tools';
import { z } from 'zod';
import { type Output, subcommands } from '../command.js';
import { subcommandOf } from '../command-of.js';
import { wrap } from '../help.js';
import {
  curveLines,
  episodeTable,
  jsonField,
  leadingRoot,
  outputField,
  round,
  sourceFields,
  sourceFolder,
  table,
  validateSource,
} from './dataset-fields.js';

/** Maximum number of findings listed per kind; a partially downloaded dataset has hundreds. */
const LISTED = 5;

const doctor = subcommandOf({
  name: 'dataset doctor',
  about:
    'Checks a whole dataset before a long run: files, rows, indices, timestamps, tasks, videos, statistics. ' +
    'Exit code: 0 nothing wrong, 1 errors, 3 warnings only.',
  leading: leadingRoot,
  schema: z.strictObject({
    ...sourceFields,
    fix: z
      .boolean()
      .default(false)
      .describe(
        'Mend what can be mended without guessing (totals of info.json, statistics of numbers), keeping originals as .bak, ' +
          'and check again. Data and videos are never touched.',
      ),
    tolerance_s: z
      .number()
      .positive()
      .default(1e-4)
      .describe('Largest distance of a timestamp or video frame from its time, seconds.'),
    decode: z
      .boolean()
      .default(false)
      .describe(
        'Decode every video frame too: finds damage inside a frame, takes minutes instead of seconds.',
      ),
    ...jsonField,
  }),
  validate: validateSource,
  run: async (config, output) => {
    const { decodeVideo, examineDataset, exitCode, fixDataset, probeVideo } = await import(
      '@craft-ft/datasets/tools'
    );
    const root = await sourceFolder(config);
    const options = { toleranceS: config.tolerance_s, probe: config.decode ? decodeVideo : probeVideo };
    let examination = await examineDataset(root, options);
    if (config.fix) {
      const { done, failed } = await fixDataset(examination);
      for (const line of done) output.err(`fixed: ${line}\n`);
      for (const line of failed) output.err(`${line}\n`);
      if (done.length > 0) examination = await examineDataset(root, options);
    }
    const { findings } = examination;
    if (config.json) output.out(`${JSON.stringify({ root: examination.root, findings }, null, 2)}\n`);
    else output.out(`${[...report(findings, output.columns), summary(findings)].join('\n')}\n`);
    return exitCode(findings);
  },
});

function report(findings: readonly Finding[], columns: number): string[] {
  const byCode = new Map<string, Finding[]>();
  for (const finding of findings) byCode.set(finding.code, [...(byCode.get(finding.code) ?? []), finding]);
  return [...byCode.values()].flatMap((same) => {
    const lines = same.slice(0, LISTED).flatMap((finding) => wrap(`  ${describe(finding)}`, columns, 4));
    if (same.length > LISTED) lines.push(`  and ${same.length - LISTED} more; --json lists all`);
    const fixes = [...new Set(same.flatMap(({ fix }) => fix ?? []))];
    const shown = fixes.slice(0, 1).flatMap((fix) => wrap(`  → ${fix}`, columns, 4));
    return [`${same[0]!.severity} ${same[0]!.code}`, ...lines, ...shown, ''];
  });
}

function describe({ episode, camera, file, message }: Finding): string {
  const where = [episode === undefined ? '' : `episode ${episode}`, camera ?? ''].filter(
    (part) => part !== '',
  );
  return `${where.length > 0 ? `${where.join(', ')}: ` : ''}${file}: ${message}`;
}

function summary(findings: readonly Finding[]): string {
  const count = (severity: Finding['severity']): number =>
    findings.filter((finding) => finding.severity === severity).length;
  if (findings.length === 0) return 'nothing wrong';
  const number = (n: number, word: string): string => `${n} ${word}${n === 1 ? '' : 's'}`;
  return [
    number(count('error'), 'error'),
    number(count('warning'), 'warning'),
    number(count('info'), 'note'),
  ].join(', ');
}

const episodeList = z.array(z.int().min(0)).min(1);

function say(output: Output, { root, episodes, frames, values, videoFrames }: Composed): void {
  const videos = videoFrames > 0 ? ` and ${videoFrames} video frames` : '';
  output.out(
    `${root}: ${episodes} episodes, ${frames} frames; ${values} numbers${videos} compared with the source\n`,
  );
}

const convert = subcommandOf({
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

const merge = subcommandOf({
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

const split = subcommandOf({
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

const deleteEpisodes = subcommandOf({
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

const info = subcommandOf({
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

const stats = subcommandOf({
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

const show = subcommandOf({
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

/** `craft dataset`: checks, shows, converts and edits LeRobot datasets. Only `doctor --fix` and `stats --recompute` change the source. */
export const datasetCommand = subcommands(
  'dataset',
  { doctor, info, stats, show, convert, merge, split, 'delete-episodes': deleteEpisodes },
  'FOLDER ',
);
