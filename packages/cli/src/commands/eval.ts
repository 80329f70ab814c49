import { join } from 'node:path';
import type { Evaluation, EvaluationSummary } from '@craft-ft/world';
import { ENVIRONMENT_TYPES, TABLETOP_TASKS } from '@craft-ft/world/names';
import { z } from 'zod';
import type { Output } from '../command.js';
import { commandOf } from '../command-of.js';
import { commaList, unknownWords } from '../flags.js';
import { INTERRUPTED, listenForInterrupt } from '../interrupt.js';
import { loadActor } from '../policy-path.js';
import { episodeProgress } from '../progress.js';

const schema = z.strictObject({
  policy: z.strictObject({
    path: z.string().min(1).describe('Policy to judge: a run, a checkpoint or a model folder.'),
    device: z
      .string()
      .nullable()
      .default(null)
      .describe("Where it runs: cpu, cuda, cuda:N. null: as the policy's configuration says."),
  }),
  env: z.strictObject({
    type: z.enum(ENVIRONMENT_TYPES).default('tabletop').describe('The environment.'),
    task: z.string().describe(`Tasks, separated by commas: ${TABLETOP_TASKS.join(', ')}.`),
  }),
  eval: z
    .strictObject({
      n_episodes: z.int().min(1).default(50).describe('Episodes of each task.'),
      batch_size: z
        .int()
        .min(0)
        .default(50)
        .describe('Episodes side by side: one forward pass for all. 0: all, at most 50.'),
      n_videos: z.int().min(0).default(0).describe('Episodes of each task that are filmed, from the first.'),
      video_size: z
        .tuple([z.int().min(2), z.int().min(2)])
        .default([240, 320])
        .describe('Height and width of the videos; even.'),
      num_workers: z.int().min(0).nullable().default(null).describe('Worker threads. null: one per core.'),
    })
    .prefault({}),
  seed: z
    .int()
    .min(0)
    .max(2 ** 31)
    .default(1000)
    .describe('Seed of the first episode; the same starts for every policy.'),
  output_dir: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('Folder for eval_info.json and videos/. null: nothing is written.'),
  rename_map: z.record(z.string(), z.string()).default({}).describe('Environment key to policy key.'),
  json: z.boolean().default(false).describe('The whole result as JSON on standard output.'),
});
type EvalConfig = z.infer<typeof schema>;

function validate({ env, eval: evaluation, output_dir: folder }: EvalConfig) {
  const problems = unknownWords('env.task', env.task, TABLETOP_TASKS);
  const { n_videos: videos, video_size: size } = evaluation;
  if (videos > 0 && folder === null) {
    problems.push({ field: 'output_dir', found: null, message: 'expected a folder for the videos' });
  }
  if (videos > 0 && size.some((pixels) => pixels % 2 === 1)) {
    problems.push({ field: 'eval.video_size', found: size, message: 'expected even numbers' });
  }
  return problems;
}

/** `craft eval`: success rates of a policy, like `lerobot-eval`. */
export const evalCommand = commandOf({
  name: 'eval',
  about: "A policy's success rate at tasks.",
  schema,
  validate,
  run: async (config, output) => {
    const { atomicWriteFile, makeFolder } = await import('@craft-ft/torch');
    // Fail now, rather than after hours of rollouts, if the folder cannot be created.
    if (config.output_dir !== null) makeFolder(config.output_dir);
    const result = await evaluate(config, output);
    if (config.output_dir !== null && !result.interrupted) {
      atomicWriteFile(join(config.output_dir, 'eval_info.json'), `${JSON.stringify(result, null, 2)}\n`);
    }
    if (config.json) output.out(`${JSON.stringify(result)}\n`);
    else if (result.per_task.length > 0) output.out(describe(result));
    if (!result.interrupted) return 0;
    const { length: all } = commaList(config.env.task);
    output.err(
      `craft: interrupted after ${result.per_task.length} of ${all} tasks; eval_info.json was not written\n`,
    );
    return INTERRUPTED;
  },
});

async function evaluate(config: EvalConfig, output: Output): Promise<Evaluation> {
  const { evaluatePolicy } = await import('@craft-ft/world');
  const actor = await loadActor(config.policy.path, config.policy.device, output);
  const { n_episodes: nEpisodes, batch_size: size, num_workers: workers } = config.eval;
  const { n_videos: filmed, video_size: videoSize } = config.eval;
  const tasks = commaList(config.env.task);
  const progress = episodeProgress(output, tasks.length * nEpisodes);
  const interrupt = listenForInterrupt();
  try {
    return await evaluatePolicy({
      ...actor,
      type: config.env.type,
      tasks,
      nEpisodes,
      ...(size === 0 ? {} : { batchSize: size }),
      seed: config.seed,
      renameMap: config.rename_map,
      ...(workers === null ? {} : { workers }),
      ...(filmed === 0
        ? {}
        : { videos: { folder: join(config.output_dir!, 'videos'), episodes: filmed, size: videoSize } }),
      onProgress: ({ task, episodes, successes }) =>
        progress.update(episodes, `${task}: ${successes} succeeded`),
      signal: interrupt.signal,
    });
  } finally {
    progress.stop();
    interrupt.stop();
  }
}

function describe({ per_task: tasks, overall }: Evaluation): string {
  const rows = [...tasks, ...(tasks.length > 1 ? [{ ...overall, task: 'all' }] : [])];
  const width = Math.max(...rows.map(({ task }) => task.length));
  return rows.map((row) => `${row.task.padEnd(width)}  ${rate(row)}\n`).join('');
}

function rate({ successes, n_episodes, pc_success, pc_success_interval: [low, high] }: EvaluationSummary) {
  return (
    `${pc_success.toFixed(1).padStart(5)} % success (${successes} of ${n_episodes}; ` +
    `95 % interval ${low.toFixed(1)} to ${high.toFixed(1)})`
  );
}
