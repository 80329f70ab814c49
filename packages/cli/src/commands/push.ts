import type { PushOptions } from '@craft-ft/datasets';
import { z } from 'zod';
import type { Output } from '../command.js';
import { commandOf } from '../command-of.js';

const pushSchema = z.strictObject({
  folder: z
    .string()
    .min(1)
    .describe("A dataset's folder; a policy's, a checkpoint's or a run's; a tokenizer's."),
  repo_id: z.string().min(1).describe('Where to, as user/name; created where it does not exist.'),
  type: z
    .enum(['dataset', 'model', 'tokenizer'])
    .describe('dataset, model for a policy, or tokenizer for one that craft tokenizer train wrote.'),
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

/** `craft push`: uploads to the Hugging Face Hub, with a card. Needs HF_TOKEN or a saved login. */
export const pushCommand = commandOf({
  name: 'push',
  about: 'Uploads a dataset, a policy or a FAST tokenizer to the Hugging Face Hub, with a card.',
  schema: pushSchema,
  run: async ({ repo_id: repoId, private: hidden, message, revision, tag, ...rest }, output) => {
    const optional = {
      private: hidden ?? undefined,
      message: message ?? undefined,
      revision: revision ?? undefined,
      tag: tag ?? undefined,
    };
    output.out(`${await upload({ ...rest, repoId, ...optional }, output)}\n`);
    return 0;
  },
});

/** Uploads a folder, showing progress on standard error. Resolves to a line that says what was uploaded where. */
export async function upload(options: PushOptions, output: Output): Promise<string> {
  const { pushFolder } = await import('@craft-ft/datasets');
  let shown = '';
  const { url, files, commit, tag } = await pushFolder({
    ...options,
    onProgress: ({ phase, file }) => {
      const line = file === '' ? phase : `${phase} ${file}`;
      if (line !== shown) output.err(`${line}\n`);
      shown = line;
    },
    onWarning: (line) => output.err(`craft: warning: ${line}\n`),
  });
  return `${url}: ${files.length} files, commit ${commit}${tag === null ? '' : `, tag ${tag}`}`;
}
