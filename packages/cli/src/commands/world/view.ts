import { nearest, type Problem } from '@craft-ft/policies/config';
import type { ViewSource } from '@craft-ft/world';
import { TABLETOP_TASKS, type TabletopTask } from '@craft-ft/world/names';
import { z } from 'zod';
import type { Command, Output } from '../../command.js';
import { commandOf } from '../../command-of.js';
import { loadActor } from '../../load-actor.js';
import { openBrowser } from '../../open-browser.js';
import { openRecording } from './open-recording.js';

const name = z.string().min(1).nullable().default(null);

const schema = z.strictObject({
  task: z
    .string()
    .default(TABLETOP_TASKS[0])
    .describe(`Task shown first: ${TABLETOP_TASKS.join(', ')}.`),
  seed: z.int().min(0).default(0).describe('Start shown first; craft eval judges from 1000 on.'),
  policy: z
    .strictObject({
      path: name.describe('Policy whose rollouts are shown: a run, a checkpoint or a model folder.'),
      device: name.describe("Where it runs: cpu, cuda, cuda:N. null: as the policy's configuration says."),
    })
    .prefault({}),
  dataset: z
    .strictObject({
      root: name.describe('Folder of a LeRobot dataset whose episodes are shown.'),
      repo_id: name.describe(
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
type ViewConfig = z.infer<typeof schema>;

function validate({ task, host, dataset, episode }: ViewConfig): Problem[] {
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
  schema,
  validate,
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
export const viewCommand: Command = (argv, output) =>
  view(
    argv.map((word) => (word === '--no-open' ? '--open=false' : word)),
    output,
  );

/** What was asked for comes first; the expert is always there. */
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
