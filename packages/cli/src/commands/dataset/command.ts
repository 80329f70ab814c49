import { ConfigError, checkConfig, listFields, type Problem } from '@craft-ft/lerobot/configs';
import { z } from 'zod';
import { applyFlags, type FlagTable, splitFlags } from '../../flags.js';
import { fieldsHelp } from '../../help.js';
import type { Output } from '../../main.js';
import type { Subcommand } from '../../subcommands.js';

interface Spec<T> {
  /** The word itself. */
  readonly name: string;
  readonly about: string;
  readonly schema: z.ZodType<T>;
  /** The field that leading words without a flag are for; `roots` takes several. */
  readonly leading: 'root' | 'roots';
  readonly validate?: (config: T) => Problem[];
  readonly run: (config: T, output: Output) => Promise<number>;
}

/** A command made of its fields: flags, help, checks, and what it does with the configuration. */
export function datasetCommand<T>(spec: Spec<T>): Subcommand {
  const table: FlagTable = { fields: listFields(spec.schema), special: [], notYet: [] };
  return {
    about: spec.about,
    run: async (argv, output) => {
      if (argv.includes('--help') || argv.includes('-h')) {
        const words = spec.leading === 'roots' ? 'FOLDER FOLDER ...' : 'FOLDER';
        output.out(fieldsHelp(`craft dataset ${spec.name} ${words}`, spec.about, table, output.columns));
        return 0;
      }
      const first = argv.findIndex((word) => word.startsWith('--'));
      const words = argv.slice(0, first === -1 ? argv.length : first);
      const tree: Record<string, unknown> = {};
      if (spec.leading === 'roots' && words.length > 0) tree.roots = words;
      if (spec.leading === 'root' && words.length > 0) tree.root = words[0];
      // A second folder is refused by splitFlags as an unexpected argument.
      const flags = argv.slice(spec.leading === 'root' ? Math.min(1, words.length) : words.length);
      const problems = applyFlags(tree, splitFlags(flags, table), table);
      const checked = checkConfig(spec.schema, tree, spec.validate ?? (() => []));
      if (checked.config === null || problems.length > 0)
        throw new ConfigError([...problems, ...checked.problems]);
      return spec.run(checked.config, output);
    },
  };
}

/** Which dataset: a folder, or a name that is looked up. */
export const sourceFields = {
  root: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('Folder of the dataset; may be given as the first word, without --root=.'),
  repo_id: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('Name of the dataset, as user/name, looked up below $HF_LEROBOT_HOME when no folder is given.'),
};

export const outputField = {
  output: z.string().min(1).describe('Folder for the result; must not exist yet, or be empty.'),
};

export const jsonField = {
  json: z.boolean().default(false).describe('JSON on standard output instead of text.'),
};

interface Source {
  root: string | null;
  repo_id: string | null;
}

export function validateSource({ root, repo_id }: Source): Problem[] {
  if (root !== null || repo_id !== null) return [];
  return [{ field: 'root', found: undefined, message: 'expected the folder of a dataset, or repo_id' }];
}

/** The folder of the chosen dataset. */
export async function sourceFolder({ root, repo_id }: Source): Promise<string> {
  if (root !== null) return root;
  const { datasetFolder } = await import('@craft-ft/lerobot');
  return datasetFolder({ root: null, repo_id: repo_id!, episodes: null, exclude_episodes: null });
}
