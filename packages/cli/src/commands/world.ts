import { spawn } from 'node:child_process';
import { ConfigError, nearest, type Problem } from '@craft-ft/policies/config';
import { CraftError } from '@craft-ft/torch/errors';
import type { ViewSource } from '@craft-ft/world';
import { TABLETOP_CAMERAS, TABLETOP_TASKS, type TabletopTask } from '@craft-ft/world/names';
import { z } from 'zod';
import { type Command, type Output, subcommands } from '../command.js';
import { commandOf } from '../command-of.js';
import { commaList, unknownWords } from '../flags.js';
import { INTERRUPTED, listenForInterrupt } from '../interrupt.js';
import { loadActor } from '../policy-path.js';
import { episodeProgress } from '../progress.js';

const recordSchema = z.strictObject({
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
type RecordConfig = z.infer<typeof recordSchema>;

/** The smallest size that the AV1 encoder accepts. */
const SMALLEST_VIDEO = 30;

function validateRecording({
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

/** `craft world record`: records scripted experts as a LeRobot v3.0 dataset, on all cores. */
export const recordCommand = commandOf({
  name: 'world record',
  about: 'Records scripted experts on the tabletop as a LeRobot v3.0 dataset.',
  schema: recordSchema,
  validate: validateRecording,
  run: async (config, output) => {
    const { looksLikeRepoId } = await import('@craft-ft/datasets');
    // Other names could lead out of $HF_LEROBOT_HOME.
    if (config.root === null && !looksLikeRepoId(config.repo_id)) {
      const message = 'expected user/name, or --root=FOLDER too';
      throw new ConfigError([{ field: 'repo_id', found: config.repo_id, message }]);
    }
    const { recordDataset } = await import('@craft-ft/world');
    const tasks = commaList(config.task);
    const progress = episodeProgress(output, tasks.length * config.episodes);
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

const optionalName = z.string().min(1).nullable().default(null);

const viewSchema = z.strictObject({
  task: z
    .string()
    .default(TABLETOP_TASKS[0])
    .describe(`Task shown first: ${TABLETOP_TASKS.join(', ')}.`),
  seed: z.int().min(0).default(0).describe('Start shown first; craft eval judges from 1000 on.'),
  policy: z
    .strictObject({
      path: optionalName.describe('Policy whose rollouts are shown: a run, a checkpoint or a model folder.'),
      device: optionalName.describe(
        "Where it runs: cpu, cuda, cuda:N. null: as the policy's configuration says.",
      ),
    })
    .prefault({}),
  dataset: z
    .strictObject({
      root: optionalName.describe('Folder of a LeRobot dataset whose episodes are shown.'),
      repo_id: optionalName.describe(
        'Name of the dataset, as user/name; fetched from the Hub where no folder is given, episode by episode.',
      ),
    })
    .prefault({}),
  episode: z.int().min(0).default(0).describe('Episode of the dataset shown first.'),
  rename_map: z.record(z.string(), z.string()).default({}).describe('Environment key to policy key.'),
  port: z.int().min(0).max(65535).default(0).describe('Port of the page. 0: a free one.'),
  host: z
    .string()
    .default('127.0.0.1')
    .describe('127.0.0.1 or localhost: the page is for this machine only.'),
  open: z
    .boolean()
    .default(true)
    .describe('Open the page in the browser; --no-open only prints its address.'),
});
type ViewConfig = z.infer<typeof viewSchema>;

function validateView({ task, host, dataset, episode }: ViewConfig): Problem[] {
  const problems: Problem[] = [];
  if (!TABLETOP_TASKS.includes(task as TabletopTask)) {
    const near = nearest(task, TABLETOP_TASKS);
    const message = near === null ? `expected one of ${TABLETOP_TASKS.join(', ')}` : `did you mean ${near}?`;
    problems.push({ field: 'task', found: task, message });
  }
  if (host !== '127.0.0.1' && host !== 'localhost') {
    const message = 'expected 127.0.0.1: the page is for this machine; from another one use ssh -L';
    problems.push({ field: 'host', found: host, message });
  }
  if (episode !== 0 && dataset.root === null && dataset.repo_id === null) {
    problems.push({
      field: 'episode',
      found: episode,
      message: 'expected dataset.root or dataset.repo_id too',
    });
  }
  return problems;
}

const view = commandOf({
  name: 'world view',
  about:
    'Shows the tabletop on a page in the browser: the scripted expert, the rollouts of a policy, the episodes of a dataset.',
  schema: viewSchema,
  validate: validateView,
  run: async (config, output) => {
    const { serveView } = await import('@craft-ft/world');
    const { task, seed, episode, port } = config;
    const first = { task: task as TabletopTask, seed, episode };
    const server = await serveView({ sources: await openSources(config, output), first, port });
    output.out(`${server.url}\nCtrl-C ends it\n`);
    if (config.open) openBrowser(server.url);
    await new Promise<void>((resolve) => process.once('SIGINT', resolve));
    await server.close();
    return 0;
  },
});

/** `craft world view`: the tabletop in a browser, with the expert, a policy's rollouts or a dataset's episodes. Runs until interrupted. */
const viewCommand: Command = (argv, output) =>
  view(
    argv.map((word) => (word === '--no-open' ? '--open=false' : word)),
    output,
  );

/** The requested source comes first; the expert is always available. */
async function openSources(
  { policy, dataset, ...config }: ViewConfig,
  output: Output,
): Promise<ViewSource[]> {
  const { expertSource, policySource } = await import('@craft-ft/world');
  const sources: ViewSource[] = [];
  if (policy.path !== null) {
    const actor = await loadActor(policy.path, policy.device, output);
    sources.push(await policySource({ ...actor, name: policy.path, renameMap: config.rename_map }));
  }
  if (dataset.root !== null || dataset.repo_id !== null) {
    sources.push(await openRecording(dataset, config.episode, output));
  }
  return [...sources, expertSource()];
}

/** A dataset given by its folder or, if that is null, by its name. */
interface Recording {
  root: string | null;
  repo_id: string | null;
}

/**
 * The episodes of a dataset for the view. Without a folder, missing files are downloaded from the Hub: first only `meta/`, then the files
 * of the episode being viewed.
 *
 * @param first the episode to show first
 * @throws ConfigError if there is no such episode; CraftError as `fetchDataset`, `datasetSource`
 */
async function openRecording(
  { root, repo_id }: Recording,
  first: number,
  output: Output,
): Promise<ViewSource> {
  const { datasetFolder, fetchDataset } = await import('@craft-ft/training');
  const { datasetSource } = await import('@craft-ft/world');
  const dataset = { root, repo_id: repo_id ?? '' };
  const said = new Set<string>();
  const say = (line: string) => {
    if (!said.has(line)) output.err(`${line}\n`);
    said.add(line);
  };
  const warn = (line: string) => say(`craft: warning: ${line}`);
  const fetch = (episode: number, excluded: number[] | null, cameras?: string[]) =>
    fetchDataset({ ...dataset, episodes: [episode], exclude_episodes: excluded }, cameras, say, warn);

  const here = new Set<number>();
  let pictures = true;
  let warned = false;
  const bring = async (episode: number): Promise<void> => {
    if (here.has(episode)) return;
    await fetch(episode, null, []);
    try {
      if (pictures) await fetch(episode, null);
    } catch (error) {
      if (!(error instanceof CraftError)) throw error;
      if (!warned) warn(`shown without pictures that are not here: ${error.message}`);
      warned = true;
      // The network may be back on the next request.
      if (error.code === 'HUB_UNREACHABLE') return;
      // A dataset is often copied without its videos, and may not be on the Hub.
      pictures = false;
    }
    here.add(episode);
  };

  // Episode 0 with episode 0 excluded: downloads only the metadata.
  await fetch(0, [0]);
  const source = await datasetSource(datasetFolder({ ...dataset, episodes: null, exclude_episodes: null }));
  const count = source.episodes!;
  if (first >= count) {
    throw new ConfigError([{ field: 'episode', found: first, message: `expected 0 to ${count - 1}` }]);
  }
  await bring(first);
  return {
    name: source.name,
    label: source.label,
    episodes: count,
    load: async (request, signal) => {
      await bring(request.episode);
      return source.load(request, signal);
    },
    picture: (episode, frame, camera) => source.picture!(episode, frame, camera),
    close: () => source.close(),
  };
}

/** Opens an address in the browser if there is a desktop; otherwise does nothing. */
function openBrowser(url: string): void {
  const { platform, env } = process;
  if (platform === 'linux' && env.DISPLAY === undefined && env.WAYLAND_DISPLAY === undefined) return;
  const [program, ...words] =
    platform === 'darwin' ? ['open'] : platform === 'win32' ? ['explorer'] : ['xdg-open'];
  const child = spawn(program!, [...words, url], { stdio: 'ignore', detached: true });
  // The program may be missing; the address is printed anyway.
  child.on('error', () => {});
  child.unref();
}

/** `craft world`: the simulated tabletop. */
export const worldCommand = subcommands('world', {
  record: {
    about: 'record scripted experts on the tabletop as a LeRobot dataset',
    run: recordCommand,
  },
  view: {
    about: 'look at it in the browser, at the expert, the rollouts of a policy, recorded episodes',
    run: viewCommand,
  },
});
