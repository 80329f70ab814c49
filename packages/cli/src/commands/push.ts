import { z } from 'zod';
import { commandOf } from '../command-of.js';

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

/** `craft push`: uploads a dataset or a policy to the Hugging Face Hub, with a card. Needs HF_TOKEN or a saved login. */
export const pushCommand = commandOf({
  name: 'push',
  about: 'Uploads a dataset or a policy to the Hugging Face Hub, with a card.',
  schema: pushSchema,
  run: async ({ folder, repo_id: repoId, type, private: hidden, message, revision, tag }, output) => {
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
  },
});
