import { ConfigError, type Problem } from '@craft-ft/policies/config';
import { TABLETOP_CAMERAS, TABLETOP_TASKS } from '@craft-ft/world/names';
import { z } from 'zod';
import { commaList, unknownWords } from '../../comma-list.js';
import { commandOf } from '../../command-of.js';
import { EpisodeProgress } from '../../episode-progress.js';
import { INTERRUPTED, listenForInterrupt } from '../../interrupt.js';

const schema = z.strictObject({
  task: z.string().describe(`Tasks, separated by commas: ${TABLETOP_TASKS.join(', ')}.`),
  episodes: z.int().min(1).default(50).describe('Episodes of each task.'),
  repo_id: z.string().min(1).describe('Name of the dataset, as user/name.'),
  root: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('Folder to create. null: below $HF_LEROBOT_HOME, by repo_id.'),
  cameras: z
    .string()
    .default('')
    .describe(`Cameras to record, separated by commas: ${TABLETOP_CAMERAS.join(', ')}. Empty: none.`),
  image_size: z
    .tuple([z.int().min(2), z.int().min(2)])
    .default([96, 96])
    .describe('Height and width of their pictures; even numbers for video.'),
  use_videos: z.boolean().default(true).describe('Cameras as AV1 video; false: as PNG files, lossless.'),
  environment_state: z
    .boolean()
    .default(true)
    .describe("Record where things are, for policies without cameras ('observation.environment_state')."),
  seed: z.int().min(0).default(0).describe('Seed of the first episode; the others follow.'),
  noise: z
    .number()
    .min(0)
    .default(0.3)
    .describe('Unsteadiness of the arm in degrees: shows policies the way back onto the path.'),
  num_workers: z.int().min(0).nullable().default(null).describe('Worker threads. null: one per core.'),
});
type RecordConfig = z.infer<typeof schema>;

/** The AV1 encoder takes no less. */
const SMALLEST_VIDEO = 30;

function validate({
  task,
  cameras,
  image_size: [height, width],
  use_videos: video,
}: RecordConfig): Problem[] {
  const problems = unknownWords('task', task, TABLETOP_TASKS);
  if (cameras.trim() !== '') problems.push(...unknownWords('cameras', cameras, TABLETOP_CAMERAS));
  const filmable = (pixels: number) => pixels % 2 === 0 && pixels >= SMALLEST_VIDEO;
  if (cameras.trim() !== '' && video && !(filmable(height) && filmable(width))) {
    problems.push({
      field: 'image_size',
      found: [height, width],
      message: `expected even numbers from ${SMALLEST_VIDEO} on for video; or --use_videos=false`,
    });
  }
  return problems;
}

/** `craft world record`: scripted experts as a LeRobot v3.0 dataset, on all cores. */
export const recordCommand = commandOf({
  name: 'world record',
  about: 'Records scripted experts on the tabletop as a LeRobot v3.0 dataset.',
  schema,
  validate,
  run: async (config, output) => {
    const { looksLikeRepoId } = await import('@craft-ft/datasets');
    // Other names could lead out of $HF_LEROBOT_HOME.
    if (config.root === null && !looksLikeRepoId(config.repo_id)) {
      const message = 'expected user/name, or --root=FOLDER too';
      throw new ConfigError([{ field: 'repo_id', found: config.repo_id, message }]);
    }
    const { recordDataset } = await import('@craft-ft/world');
    const tasks = commaList(config.task);
    const progress = new EpisodeProgress(output, tasks.length * config.episodes);
    const interrupt = listenForInterrupt();
    try {
      const result = await recordDataset({
        tasks,
        episodes: config.episodes,
        repoId: config.repo_id,
        root: config.root,
        cameras: commaList(config.cameras),
        imageSize: config.image_size,
        video: config.use_videos,
        environmentState: config.environment_state,
        seed: config.seed,
        noise: config.noise,
        ...(config.num_workers === null ? {} : { workers: config.num_workers }),
        onProgress: ({ episodes, frames, failures }) =>
          progress.update(episodes, `${frames} frames, ${failures} attempts failed`),
        signal: interrupt.signal,
      });
      progress.stop();
      output.out(
        `${result.root}: ${result.episodes} episodes, ${result.frames} frames; ` +
          `the expert failed ${result.failures} other attempts\n`,
      );
      return interrupt.signal.aborted ? INTERRUPTED : 0;
    } finally {
      progress.stop();
      interrupt.stop();
    }
  },
});
