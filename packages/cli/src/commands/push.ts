import { ConfigError, checkConfig, listFields } from '@craft-ft/lerobot/configs';
import { z } from 'zod';
import { applyFlags, type FlagTable, splitFlags } from '../flags.js';
import { fieldsHelp } from '../help.js';
import type { Output } from '../main.js';

const pushSchema = z.strictObject({
  folder: z.string().min(1).describe("A dataset's folder; or a policy's, a checkpoint's or a run's."),
  repo_id: z.string().min(1).describe('Where to, as user/name; created where it does not exist.'),
  type: z.enum(['dataset', 'model']).describe('dataset, or model for a policy.'),
  private: z
    .boolean()
    .nullable()
    .default(null)
    .describe('Visibility of a repository that is created. null: your setting.'),
  message: z.string().min(1).nullable().default(null).describe('Title of the commit.'),
  revision: z.string().min(1).nullable().default(null).describe('Branch to commit to. null: main.'),
  tag: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      "Tag to set on the commit. null: for datasets their format's version, by which LeRobot finds them.",
    ),
});

const table: FlagTable = { fields: listFields(pushSchema), special: [], notYet: [] };

/** `craft push`: uploads a dataset or a policy to the Hugging Face Hub, with a card. Needs HF_TOKEN or a saved login. */
export async function pushCommand(argv: readonly string[], output: Output): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) {
    output.out(
      fieldsHelp(
        'craft push',
        'Uploads a dataset or a policy to the Hugging Face Hub, with a card.',
        table,
        output.columns,
      ),
    );
    return 0;
  }
  const tree = {};
  const problems = applyFlags(tree, splitFlags(argv, table), table);
  const checked = checkConfig(pushSchema, tree, () => []);
  if (checked.config === null || problems.length > 0)
    throw new ConfigError([...problems, ...checked.problems]);
  const { folder, repo_id: repoId, type, private: hidden, message, revision, tag } = checked.config;
  const { pushFolder } = await import('@craft-ft/lerobot');
  let shown = '';
  const result = await pushFolder({
    folder,
    repoId,
    type,
    private: hidden ?? undefined,
    message: message ?? undefined,
    revision: revision ?? undefined,
    tag: tag ?? undefined,
    onProgress: ({ phase, file }) => {
      const line = file === '' ? phase : `${phase} ${file}`;
      if (line !== shown) output.err(`${line}\n`);
      shown = line;
    },
    onWarning: (line) => output.err(`craft: warning: ${line}\n`),
  });
  output.out(
    `${result.url}: ${result.files.length} files, commit ${result.commit}${result.tag === null ? '' : `, tag ${result.tag}`}\n`,
  );
  return 0;
}
